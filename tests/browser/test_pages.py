"""Every page in both themes at two widths, the keyboard, and what is live."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Watch, findings, open_context
from harness import Hermes, Series, StoreScp, free_port, make_series, rule, storescu, target, until
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(180)]

HOSTILE = "<script>alert(1)</script>\u202e\u05d0\u05d1'\"{{7*7}}"
LONG = "x" * 64
PAGES = (
    *(
        "/",
        "/flow",
        "/queues",
        "/series",
        "/series?q=status:unmatched",
        "/series?q=modality:CT+received:24h",
        "/series?q=nobody",
    ),
    *("/deliveries", "/deliveries?state=failed&within=1h", "/errors?target=down", "/quarantine?within=1h", "/nowhere"),
    "/storage",
)
PLAIN = (
    *("/rules", "/rules/new", "/targets", "/sources", "/policies", "/audit", "/users", "/password"),
    *("/alerts", "/alerts/channels", "/alerts/channels/_new/apprise", "/alerts/channels/_new/webhook"),
    "/alerts/conditions",
    *("/account", "/account/second-factor", "/system", "/system/events", "/start", "/users/admin", "/sign-in/code"),
)
"""Pages that have their look from the elements and macros alone: seen once wide and once narrow."""


@pytest.fixture(scope="module")
def sent(
    hermes: Hermes, peer: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Series]]:
    """A series that is delivered, one whose target aborts with text of an attacker, and one that no rule matches."""
    folder: Path = tmp_path_factory.mktemp("pages")
    scp = StoreScp(peer("storescp", "dcmtk"), folder / "pacs", free_port())
    scp.start()
    breaks = StoreScp(peer("storescp", "dcmtk"), folder / "down", free_port(), options=("--abort-after",))
    breaks.start()
    down = target("down", breaks.port, retry={"max_attempts": 1, "delay": "1s", "factor": 1, "max_delay": "1s"})
    rules = [rule("chest", 'BodyPartExamined == "CHEST"', "pacs"), rule("head", 'BodyPartExamined == "HEAD"', "down")]
    hermes.configure([target("pacs", scp.port), down], rules)
    series = [
        make_series(folder / "good", 3, BodyPartExamined="CHEST", SeriesDescription="chest, thin"),
        make_series(
            folder / "bad",
            2,
            BodyPartExamined="HEAD",
            SeriesDescription=LONG,
            StudyDescription=HOSTILE,
            PatientName=HOSTILE,
            PatientID=LONG,
            SpecificCharacterSet="ISO_IR 192",
        ),
        make_series(folder / "other", 1, BodyPartExamined="KNEE", SeriesDescription="knee"),
    ]
    program = peer("storescu", "dcmtk")
    for each in series:
        assert storescu(program, hermes.dicom_port, each.files).returncode == 0
    for each, state in zip(series, ("delivered", "failed", "unmatched"), strict=True):
        until(state, lambda uid=each.uid, state=state: hermes.reached(uid, state))
    scp.stop()
    yield series
    breaks.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_has_an_error_a_finding_or_anything_that_sticks_out(
    browser: Browser, hermes: Hermes, signed_in: Any, watch: Watch, sent: list[Series], theme: str, width: int
) -> None:
    context = open_context(browser, hermes, signed_in, width, f"{theme}.utc.shown")
    page = watch.over(context.new_page())
    wrong = {}
    plain = PLAIN if (width, theme) in {(1440, "light"), (390, "dark")} else ()
    for path in (*PAGES, *plain, *(f"/series/{each.uid}" for each in sent)):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == (404 if path == "/nowhere" else 200), path
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
        found = findings(page)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append("it is wider than the window")
        if found:
            wrong[path] = found
    context.close()
    watch.trouble[:] = [text for text in watch.trouble if "404 (Not Found)" not in text]  # /nowhere was asked for
    assert wrong == {}


@pytest.fixture
def admin(browser: Browser, hermes: Hermes, signed_in: Any, watch: Watch) -> Any:
    context = open_context(browser, hermes, signed_in, 1200, "light.utc.shown")
    yield watch.over(context.new_page())
    context.close()


def test_the_page_of_a_series_says_why_it_went_where_it_went(admin: Page, sent: list[Series]) -> None:
    _, bad, other = sent
    admin.goto(f"/series/{bad.uid}")
    expect(admin.locator(".story")).to_contain_text("Rule head matched")
    expect(admin.locator(".story")).to_contain_text("down (failed)")
    expect(admin.locator("#decisions .expression .true")).to_have_text('BodyPartExamined == "HEAD"')
    expect(admin.locator("#decisions .expression .false").first).to_have_text('BodyPartExamined == "CHEST"')
    expect(admin.get_by_label("To down").locator("rect.bad")).to_have_count(1)
    expect(admin.locator("#events")).to_contain_text("hermes.v1.delivery.failed")
    expect(admin.get_by_text("<script>alert(1)</script>").first).to_be_visible()
    admin.get_by_label("Filter").fill("bodypart")
    expect(admin.locator("#tag-table tbody tr:visible")).to_have_count(1)
    admin.goto(f"/series/{other.uid}")
    expect(admin.locator(".story")).to_contain_text("None of the 2 rules")
    expect(admin.get_by_role("button", name="Recover")).to_be_enabled()


def test_everything_can_be_reached_with_the_keyboard(admin: Page, sent: list[Series]) -> None:
    admin.goto("/")
    admin.keyboard.press("Control+k")
    dialog = admin.get_by_role("dialog", name="Go to")
    admin.keyboard.type("head")
    expect(dialog.get_by_role("option").filter(has_text="rule")).to_be_visible()
    dialog.get_by_role("combobox").fill("errors")
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/errors")
    admin.keyboard.press("/")
    admin.keyboard.type("knee")
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/series?q=knee")
    admin.locator("body").click(position={"x": 700, "y": 800})
    admin.keyboard.press("j")
    expect(admin.locator("#results").get_by_role("link", name="knee").first).to_be_focused()
    admin.keyboard.press("?")
    expect(admin.get_by_role("dialog", name="Keys")).to_be_visible()
    admin.keyboard.press("Escape")
    admin.keyboard.press("g")
    admin.keyboard.press("o")
    admin.wait_for_url("**/")


def test_theme_times_and_names_are_as_they_were_chosen_on_the_next_page_too(admin: Page, sent: list[Series]) -> None:
    admin.goto("/series")
    expect(admin.get_by_text("Test^Patient").first).to_be_visible()
    for choice in ("Dark", "Ago", "Masked"):
        if not admin.locator("#view").is_visible():
            admin.get_by_role("button", name="View").click()
        admin.locator("#view").get_by_text(choice, exact=True).click()
    admin.goto("/series")
    expect(admin.locator("html")).to_have_attribute("data-theme", "hermes-dark")
    expect(admin.locator("tbody time").first).to_contain_text("ago")
    expect(admin.get_by_role("columnheader", name="Last image (ago)")).to_be_visible()
    assert "Test^Patient" not in admin.content()
    admin.goto(f"/series/{sent[0].uid}")
    assert "Test^Patient" not in admin.content()


def test_news_come_by_themselves_and_stop_when_they_are_paused(
    admin: Page, hermes: Hermes, peer: Callable[[str, str], str], sent: list[Series], tmp_path: Path
) -> None:
    admin.goto("/series?q=news")
    expect(admin.get_by_text("live", exact=True)).to_be_visible()
    late = make_series(tmp_path / "late", 1, SeriesDescription="news", BodyPartExamined="KNEE")
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, late.files).returncode == 0
    admin.get_by_role("button", name="1 new").click(timeout=15_000)
    expect(admin.locator("#results").get_by_role("link", name="news")).to_be_visible()
    admin.get_by_role("button", name="Pause").click()
    expect(admin.get_by_text("paused")).to_be_visible()
    more = make_series(tmp_path / "more", 1, SeriesDescription="news", BodyPartExamined="KNEE")
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, more.files).returncode == 0
    until("unmatched", lambda: hermes.reached(more.uid, "unmatched"))
    time.sleep(1)  # longer than news take
    expect(admin.get_by_role("button", name="1 new")).to_be_hidden()
    admin.get_by_role("button", name="Resume").click()
    expect(admin.get_by_text("live", exact=True)).to_be_visible()


def test_a_page_fetches_itself_once_at_a_time_and_catches_up_with_what_it_missed(
    admin: Page, sent: list[Series]
) -> None:
    admin.goto(f"/series/{sent[0].uid}")
    expect(admin.locator("live-news [data-status]")).to_have_text("live")
    admin.evaluate(
        """() => {
          const real = window.fetch;
          window.most = window.underWay = window.fetched = 0;
          window.fetch = async (...given) => {
            window.most = Math.max(window.most, ++window.underWay);
            await new Promise((resolve) => setTimeout(resolve, 200));
            return real(...given).finally(() => { window.underWay -= 1; window.fetched += 1; });
          };
        }"""
    )
    admin.evaluate("() => { for (let n = 0; n < 5; n++) document.querySelector('live-news').heard({}) }")
    until("two fetches", lambda: admin.evaluate("window.fetched === 2 && window.underWay === 0"), 10)
    assert admin.evaluate("window.most") == 1, "an answer that comes late may take the place of a newer one"
    admin.evaluate(
        """() => {
          const dialog = Object.assign(document.createElement("dialog"), {id: "open"});
          document.body.append(dialog);
          dialog.showModal();
          document.querySelector("live-news").heard({});
        }"""
    )
    admin.wait_for_timeout(500)
    assert admin.evaluate("window.fetched") == 2, "nothing changes below an open dialog"
    admin.evaluate("document.querySelector('#open').close()")
    until("the third", lambda: admin.evaluate("window.fetched === 3"), 10)


def test_events_are_shown_as_they_are_said_and_found_by_their_type(
    admin: Page, hermes: Hermes, peer: Callable[[str, str], str], sent: list[Series], tmp_path: Path
) -> None:
    admin.goto("/system/events")
    expect(admin.get_by_text("live", exact=True)).to_be_visible()
    late = make_series(tmp_path / "tail", 1, SeriesDescription="tail", BodyPartExamined="KNEE")
    assert late.uid not in admin.content()
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, late.files).returncode == 0
    row = admin.locator("#tail tr").filter(has=admin.get_by_text(late.uid)).first
    expect(row).to_be_attached(timeout=20_000)
    admin.get_by_label("Type").select_option("hermes.v1.series.unmatched")
    admin.get_by_role("button", name="Show").click()
    admin.wait_for_url("**/system/events?type=hermes.v1.series.unmatched")
    expect(admin.locator("#tail td.lead").first).to_have_text("hermes.v1.series.unmatched")
    assert findings(admin) == []


def test_all_failures_of_a_cause_are_retried_and_the_page_says_what_becomes_of_them(
    admin: Page, sent: list[Series]
) -> None:
    admin.goto("/errors")
    expect(admin.get_by_role("heading", name="The connection ended in the middle")).to_be_visible()
    admin.get_by_role("button", name="Retry it").click()
    admin.get_by_role("dialog").get_by_role("button", name="Retry it").click()
    admin.wait_for_url("**/errors/progress?*")
    expect(admin.get_by_text("1 failed again")).to_be_visible(timeout=20_000)
    assert findings(admin) == []
