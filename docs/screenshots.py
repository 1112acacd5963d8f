"""Takes the pictures of the README: the demo in a home of its own, each page in both themes, into ``docs/images``.

    ./hermes --help >/dev/null && .venv/bin/python docs/screenshots.py        # or: just screenshots

What is shown are invented patients and addresses of this machine only. Needs Chromium.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from browsing import FLAGS, open_context  # noqa: E402  # found in the folder of the tests
from harness import Hermes, home_folder, until  # noqa: E402  # found in the folder of the tests

FOLDER: Final = ROOT / "docs" / "images"
LARGEST: Final = 200 * 1024
SIZE: Final = {"width": 1280, "height": 800}
THEMES: Final = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Shot:
    """A page; ``study``: the description of the one of which a series is shown; ``part``: where it is scrolled to."""

    name: str
    path: str
    study: str = ""
    part: str | None = None


SHOTS: Final = (
    Shot("overview", "/"),
    Shot("series", "/series"),
    Shot("series-page", "/series/{uid}", "US heart"),
    Shot("decision", "/series/{uid}", "CT abdomen", "#decisions"),
    Shot("instances", "/series/{uid}", "CT abdomen", "#instances"),
    Shot("flow", "/flow"),
)


def main() -> None:
    """Start the demo, wait until it has something to show, take the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    home = home_folder("screenshots")
    hermes = Hermes(home)
    try:
        hermes.start("--demo")
        found = until("the series of the demo have arrived", lambda: arrived(hermes), 120)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            state = signed_in(browser, hermes)
            for theme in THEMES:
                context = open_context(browser, hermes, state, SIZE["width"], f"{theme}.relative.shown")
                page = context.new_page()
                page.set_viewport_size(SIZE)
                for shot in SHOTS:
                    take(page, shot, found, FOLDER / f"{shot.name}-{theme}.png")
                context.close()
            browser.close()
    finally:
        hermes.stop()
        shutil.rmtree(home.parent, ignore_errors=True)


def arrived(hermes: Hermes) -> dict[str, dict[str, Any]] | None:
    """Return the series by the description of their study, once all but that for the target that is down have ended."""
    with hermes.api() as api:
        found = {item["study_description"]: item for item in api.get("/series")["items"]}
    done = [item for item in found.values() if item["state"] in ("delivered", "unmatched")]
    return found if len(found) >= 7 and len(done) >= 6 else None


def signed_in(browser: Browser, hermes: Hermes) -> Any:
    """Return the cookies of the administrator."""
    password = json.loads((hermes.home / "secrets.json").read_text("utf-8"))["admin_password"]
    context = browser.new_context(base_url=hermes.url)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{hermes.url}/*")
    state = context.storage_state()
    context.close()
    return state


def take(page: Page, shot: Shot, found: dict[str, dict[str, Any]], file: Path) -> None:
    """Take one picture: when every image is there, and nothing moves."""
    page.goto(shot.path.format(uid=found[shot.study]["series_uid"] if shot.study else ""))
    if shot.part is not None:
        page.locator(shot.part).evaluate("part => window.scrollTo(0, part.getBoundingClientRect().top - 120)")
    page.wait_for_function(
        "() => [...document.images].every(image => image.complete || image.getBoundingClientRect().top > innerHeight)"
    )
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready.then(() => true)")
    page.screenshot(path=str(file), animations="disabled", caret="hide")
    size = file.stat().st_size
    print(f"{file.relative_to(ROOT)}: {size // 1024} KB")
    if size > LARGEST:
        sys.exit(f"{file.name} has {size} octets, {LARGEST} are allowed: show less of the page")


if __name__ == "__main__":
    main()
