"""A real browser on a running router, on whose pages no error, no finding and no foreign request goes unnoticed."""

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import FLAGS, Watch, fetch_axe
from harness import Hermes
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "chromium is not installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    fetch_axe()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def watch(hermes: Hermes) -> Iterator[Watch]:
    watching = Watch(hermes.url)
    yield watching
    assert watching.trouble == []


@pytest.fixture
def page(browser: Browser, hermes: Hermes, watch: Watch) -> Iterator[Page]:
    """A page on which a console error, a failed script or a request to anywhere else is a failure."""
    opened = watch.over(browser.new_page(base_url=hermes.url))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, hermes: Hermes) -> Any:
    """The cookies of an administrator, to open contexts with."""
    password = json.loads((hermes.home / "secrets.json").read_text())["admin_password"]
    context = browser.new_context(base_url=hermes.url)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(hermes.url + "/")
    state = context.storage_state()
    context.close()
    return state
