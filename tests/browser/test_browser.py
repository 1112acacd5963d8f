"""What a person does, in a real browser: sign in, write a rule, see a series arrive and why."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Hermes, StoreScp, make_series, storescu, target, until
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(180)]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "chromium is not installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, hermes: Hermes) -> Iterator[Page]:
    """A page on which a console error, a failed script or a request to anywhere else is a failure."""
    opened = browser.new_page(base_url=hermes.url)
    trouble: list[str] = []
    opened.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith((hermes.url, "data:")) else trouble.append(f"a request to {request.url}")
        ),
    )
    yield opened
    opened.close()
    assert trouble == []


def test_from_signing_in_to_a_delivered_series(
    page: Page, hermes: Hermes, storescp: Callable[[str], StoreScp], peer: Callable[[str, str], str], tmp_path: Path
) -> None:
    import json

    scp = storescp("pacs")
    hermes.configure([target("pacs", scp.port)], [])
    password = json.loads((hermes.home / "secrets.json").read_text())["admin_password"]
    page.goto("/")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.goto("/rules/new")
    page.get_by_label("Name", exact=True).fill("CT to the PACS")
    page.get_by_label("Expression").fill('Modality = "CT"')
    page.get_by_role("checkbox", name="pacs").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("line 1")).to_be_visible()
    page.get_by_label("Expression").fill('Modality == "CT"')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("CT to the PACS").first).to_be_visible()
    series = make_series(tmp_path / "series", 3, SeriesDescription="<b>chest</b>")
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    page.goto("/series")
    page.locator(f'a[href*="{series.uid}"]').first.click()
    expect(page.get_by_text("delivered").first).to_be_visible()
    expect(page.get_by_text("<b>chest</b>").first).to_be_visible()
    expect(page.get_by_text('Modality == "CT"').first).to_be_visible()
    expect(page.get_by_text("pacs").first).to_be_visible()
