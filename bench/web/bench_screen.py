"""How long it takes from an event on the bus until a person sees it on a page that is open.

    .venv/bin/python bench/web/bench_screen.py [--series 30] [--report FILE]

Hermes as ``hermes up`` starts it, Chromium on it, storescu and storescp of DCMTK. Two pages are open: the list of
series, until it says that there are more, and the page of one series, until it says that it is delivered. The clock
begins when the event reaches a subscriber of the bus and ends when the browser has changed the page; both are of this
machine. The list is told by ``instance.stored`` of a new series, the page of a series by its last
``delivery.succeeded``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import nats
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browsing import FLAGS
from harness import Hermes, StoreScp, free_port, home_folder, make_series, rule, storescu, target, until

WATCH = """([selector, words]) => {
  const see = () => {
    const found = document.querySelector(selector);
    if (found && found.checkVisibility() && found.textContent.includes(words)) window.seenAt ??= Date.now();
  };
  window.seenAt = undefined;
  const all = {childList: true, subtree: true, characterData: true, attributes: true};
  new MutationObserver(see).observe(document.body, all);
  see();
}"""


class Ear:
    """Hears every event on the bus, and when: ``(seconds since 1970, event type, body)``."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[float, str, dict[str, Any]]] = []
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self._thread.start()

    async def _listen(self) -> None:
        client = await nats.connect(self._url)
        subscription = await client.subscribe("hermes.v1.>")
        while not self._over.is_set():
            try:
                message = await subscription.next_msg(0.5)
            except TimeoutError:
                continue
            self.heard.append((time.time(), message.subject.removeprefix("hermes.v1."), json.loads(message.data)))
        await client.close()

    def when(self, subject: str, uid: str, which: int) -> float:
        """Return when the first (0) or last (-1) such event about a series came. Raises TimeoutError."""

        def found() -> list[float]:
            return [at for at, said, body in self.heard if said.startswith(subject) and uid in json.dumps(body)]

        until(f"{subject} of {uid}", found, 60, 0.05)
        time.sleep(0.3)
        return found()[which]

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self._thread.join(10)


def watch(page: Page, selector: str, words: str) -> None:
    """Note from now on when ``words`` can be seen in ``selector``."""
    page.evaluate(WATCH, [selector, words])


def seen(page: Page) -> float:
    """Return when they were first seen, in seconds since 1970."""
    return float(until("the page shows it", lambda: page.evaluate("window.seenAt"), 60, 0.05)) / 1000


def sign_in(page: Page, hermes: Hermes) -> None:
    """Sign in as the administrator."""
    page.goto("/sign-in")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(json.loads((hermes.home / "secrets.json").read_text())["admin_password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(hermes.url + "/")


def measure(hermes: Hermes, listing: Page, one: Page, ear: Ear, count: int, work: Path) -> dict[str, list[float]]:
    """Send series one after the other; return the seconds until each page showed it."""
    storescu_path = shutil.which("storescu")
    assert storescu_path is not None, "DCMTK is missing: apt-get install dcmtk"
    found: dict[str, list[float]] = {"list of series": [], "page of a series": []}
    for number in range(count + 1):
        series = make_series(work / str(number), 2)
        listing.bring_to_front()
        listing.goto("/series")
        listing.wait_for_selector("live-news [data-status]:has-text('live')")
        watch(listing, "live-news [data-show]", "new")
        time.sleep(7)  # until the page has looked again for what came while it loaded
        assert listing.evaluate("window.seenAt") is None
        assert storescu(storescu_path, hermes.dicom_port, series.files).returncode == 0
        to_list = seen(listing) - ear.when("instance.stored", series.uid, 0)
        until("the series", partial(hermes.series, series.uid), 20, 0.1)
        one.bring_to_front()  # a page that is hidden does not fetch itself again
        one.goto(f"/series/{series.uid}")
        watch(one, ".heading .badge", "delivered")
        to_page = seen(one) - ear.when("delivery.succeeded", series.uid, -1)
        if number:  # the first is for warming up
            found["list of series"].append(to_list)
            found["page of a series"].append(to_page)
    return found


def table(found: dict[str, list[float]]) -> str:
    """Return the table of what was measured."""
    rows = ["| page | n | median | p95 | longest |", "|---|---|---|---|---|"]
    for name, seconds in found.items():
        ordered = sorted(seconds)
        p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
        middle = statistics.median(ordered)
        rows.append(f"| {name} | {len(ordered)} | {middle:.2f} s | {p95:.2f} s | {ordered[-1]:.2f} s |")
    return "\n".join(rows)


def main() -> None:
    """Start everything, measure, say it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=30)
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    home, work = home_folder("screen"), Path(tempfile.mkdtemp(prefix="hermes-screen-"))
    hermes, scp = Hermes(home), StoreScp(shutil.which("storescp") or "storescp", work / "target", free_port())
    try:
        hermes.start()
        scp.start()
        hermes.configure([target("pacs", scp.port)], [rule("ct", 'Modality == "CT"', "pacs")], quiet="6s")
        ear = Ear(hermes.variables["HERMES_NATS_URL"])
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            context = browser.new_context(base_url=hermes.url)
            listing, one = context.new_page(), context.new_page()
            sign_in(listing, hermes)
            text = table(measure(hermes, listing, one, ear, chosen.series, work))
            browser.close()
        ear.close()
    finally:
        scp.stop()
        hermes.stop()
        shutil.rmtree(home.parent, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    sys.stdout.write(text + "\n")
    if chosen.report is not None:
        chosen.report.write_text(f"# From the bus to the screen (`bench/web/bench_screen.py`)\n\n{text}\n")


if __name__ == "__main__":
    main()
