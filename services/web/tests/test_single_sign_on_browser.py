"""Coming back from an identity provider on another site, in a real browser: its rules for cookies decide."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.async_api import async_playwright, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PASSWORD = "mossy lantern 47 orbit"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(command: list[str], url: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a server until it is no longer needed, from when it answers."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment, **quiet)
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                httpx.get(url, timeout=5, trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, f"{command[0]} ended"
                assert time.monotonic() < ends, f"{url} does not answer"
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


async def test_somebody_comes_in_from_the_provider_on_another_site(nats_url: str, database_url: str) -> None:
    """The provider is on ``localhost``, we are on ``127.0.0.1``: to a browser these are two sites."""
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "chromium is not installed: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    theirs, ours = free_port(), free_port()
    issuer, url = f"http://localhost:{theirs}", f"http://127.0.0.1:{ours}"
    person = json.dumps({"sub": "4711", "preferred_username": "maria", "groups": ["radiology"]})
    environment = {
        **os.environ,
        "HERMES_NATS_URL": nats_url,
        "HERMES_DATABASE_URL": database_url,
        "HERMES_HTTP_PORT": str(ours),
        "HERMES_ADMIN_PASSWORD": PASSWORD,
        "HERMES_OIDC_ISSUER": issuer,
        "HERMES_OIDC_CLIENT_ID": "hermes",
        "HERMES_OIDC_CLIENT_SECRET": "a secret of the client",
        "HERMES_OIDC_REDIRECT_URL": f"{url}/sign-in/sso/back",
        "HERMES_OIDC_VIEWERS": "radiology",
    }
    provider = ["oidc_provider_mock", "--host", "localhost", "--port", str(theirs), "--user-claims", person]
    with (
        running(provider, f"{issuer}/.well-known/openid-configuration"),
        running(["hermes_web"], f"{url}/readyz", environment),
    ):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=90_000)
            context = await browser.new_context(base_url=url)
            context.set_default_timeout(60_000)
            page = await context.new_page()
            await page.goto("/account")
            await page.get_by_role("link", name="Sign in with single sign-on").click()
            await page.wait_for_url(f"{issuer}/**")
            await page.get_by_role("button", name="4711").click()
            await page.wait_for_url(f"{url}/account")
            answered = page.get_by_text("The identity provider answers for your account").first
            await expect(answered).to_be_visible(timeout=30_000)
            cookies = {cookie["name"]: cookie for cookie in await context.cookies(url)}
            await browser.close()
    assert cookies["__Host-hermes"]["sameSite"] == "Strict"
    assert "__Host-hermes-sso" not in cookies
