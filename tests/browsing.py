"""What tests in a browser have in common: what may not happen on a page, and what axe finds on it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import Hermes
from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(sys.prefix) / "share/hermes-web/work/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def fetch_axe() -> None:
    """Have axe, which comes with the packages that the assets are built from, also if these were built elsewhere."""
    if not AXE.exists():
        build = Path(__file__).resolve().parents[1] / "services/web/assets/build.py"
        subprocess.run([sys.executable, str(build), "--force"], check=True, timeout=300)


class Watch:
    """What went wrong on pages: console errors, failed scripts, requests to anywhere else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.trouble: list[str] = []

    def over(self, page: Page) -> Page:
        page.on("console", lambda message: self._note(message.type == "error", message.text))
        page.on("pageerror", lambda error: self._note(True, str(error)))
        page.on(
            "request",
            lambda request: self._note(not request.url.startswith((self.url, "data:")), f"a request to {request.url}"),
        )
        return page

    def _note(self, is_trouble: bool, text: str) -> None:
        if is_trouble:
            self.trouble.append(text)


def open_context(browser: Browser, hermes: Hermes, state: Any, width: int, view: str) -> BrowserContext:
    """Open a context of a signed-in administrator with a width and a view (``theme.times.names``)."""
    context = browser.new_context(
        base_url=hermes.url, storage_state=state, viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    context.add_cookies([{"name": "hermes-view", "value": view, "url": hermes.url}])
    return context


def findings(page: Page) -> list[str]:
    """Return what axe finds on a page; it is put in by the debugger, past the page's content policy."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
    run = (
        f"axe.run({{runOnly: {json.dumps(RULES)}}}).then(found => JSON.stringify("
        "found.violations.map(item => `${item.id}: ${item.nodes[0].target} (${item.nodes.length})`)))"
    )
    options = {"expression": run, "awaitPromise": True, "returnByValue": True}
    answer = session.send("Runtime.evaluate", options)
    session.detach()
    found: list[str] = json.loads(answer["result"]["value"])
    return found
