"""How long it takes from an event on the bus until an open page shows it.

    .venv/bin/python bench/web/bench_live.py [--events 60] [--write bench/web/results/live.txt]

The whole router, and Chromium on this machine with the list of series open. Series of one image come one after another;
the clock starts at the time in the event that says that the series is complete (``ce-time``), and ends when the page
shows one more. In between are the web service, which waits for the history to settle, the bookkeeper, the query, the
server-sent event and the script of the page. All on one clock.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import nats
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from browsing import FLAGS
from harness import Hermes, home_folder, make_series, storescu, until

WATCH = """() => {
  window.shown = [];
  const button = document.querySelector("[data-show]");
  new MutationObserver(() => {
    const count = parseInt(button.textContent);
    while (window.shown.length < count) window.shown.push(Date.now());
  }).observe(button, { childList: true, characterData: true, subtree: true });
}"""


class Said:
    """Hears on the bus when a series was said to be complete."""

    def __init__(self, url: str) -> None:
        self.times: list[float] = []
        self._url = url
        self._stop: asyncio.Event | None = None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self.thread.start()

    async def _listen(self) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        connection = await nats.connect(self._url)

        async def heard(message: Any) -> None:
            self.times.append(datetime.fromisoformat(message.headers["ce-time"]).timestamp())

        await connection.subscribe("hermes.v1.series.completed.>", cb=heard)
        await connection.flush()
        self.ready.set()
        await self._stop.wait()
        await connection.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(10)


def sign_in(page: Any, hermes: Hermes) -> None:
    password = json.loads((hermes.home / "secrets.json").read_text())["admin_password"]
    page.goto("/sign-in")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(hermes.url + "/*")


def measured(hermes: Hermes, events: int, folder: Path) -> list[float]:
    """Return the seconds from the event to the screen, one for each series."""
    program = shutil.which("storescu", path="/usr/bin:/usr/local/bin")
    assert program is not None, "storescu is not installed: apt-get install dcmtk"
    hermes.configure([], [], quiet="1s")
    said = Said(hermes.variables["HERMES_NATS_URL"])
    assert said.ready.wait(10)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(base_url=hermes.url)
        sign_in(page, hermes)
        found = []
        for number in range(events):
            if number % 50 == 0:  # the page counts to 99
                page.goto("/series?q=bench")
                page.get_by_text("live", exact=True).wait_for()
                page.evaluate(WATCH)
                before = len(said.times)
            series = make_series(folder / str(number), 1, SeriesDescription=f"bench {number}")
            assert storescu(program, hermes.dicom_port, series.files).returncode == 0
            wanted = number % 50 + 1
            page.wait_for_function(f"() => window.shown.length >= {wanted}", timeout=20_000)
            until("the event was heard", lambda wanted=wanted, before=before: len(said.times) >= before + wanted)
            shown = page.evaluate("() => window.shown")
            found.append(shown[wanted - 1] / 1000 - said.times[before + wanted - 1])
            time.sleep(0.3)
        browser.close()
    said.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=60)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    home = home_folder("live")
    hermes = Hermes(home)
    try:
        hermes.start()
        with tempfile.TemporaryDirectory() as folder:
            found = sorted(measured(hermes, asked.events, Path(folder)))
    finally:
        hermes.stop()
        shutil.rmtree(home.parent, ignore_errors=True)
    load = os.getloadavg()[0]
    p95 = found[max(0, -(-95 * len(found) // 100) - 1)]
    lines = [
        f"from the event on the bus to the screen, n = {len(found)}, {os.cpu_count()} cores, load {load:.1f}",
        f"p50 {statistics.median(found):.3f} s   p95 {p95:.3f} s   least {found[0]:.3f} s   most {found[-1]:.3f} s",
        f"under 1 s: {sum(value < 1 for value in found)} of {len(found)}",
    ]
    print("\n".join(lines))
    if asked.write is not None:
        asked.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
