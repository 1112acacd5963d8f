"""The workbench of rules in a browser: made, tested and activated by rows, by text, by keyboard, by two at once."""

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Watch, findings, open_context
from harness import Hermes, Series, make_series, storescu, until
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(180)]

STATION = f"WB{random.getrandbits(30)}"
RICH = (
    '# from the \u00fcber list\n(Modality == "CT" or StationName in ["a\\"b", "c"])'
    " and not (Rows > 1.50 and KVP is missing)"
    " and SeriesDescription matches /^t1.*\\/x$/i and StudyDate within last 7 days and Columns between 1 and 1024"
    ' and (0019,100C) == 5 and PatientAge >= "018Y"'
)
STUDY = 'study.series >= 1 and count series (Modality == "CT" and not series.instances > 50) >= 1'


@pytest.fixture(scope="module")
def sent(
    hermes: Hermes, peer: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Series]:
    """Two series of a scanner that nobody else has, which no rule matches."""
    folder: Path = tmp_path_factory.mktemp("workbench")
    (folder / "files").mkdir()
    target = {"kind": "folder", "slug": "files", "name": "The files", "path": str(folder / "files")}
    other = {"slug": "other", "name": "Other", "expression": 'Modality == "US"', "targets": ["files"]}
    dry = {"slug": "dry", "name": "Dry", "expression": f'StationName == "{STATION}"', "targets": ["files"]}
    hermes.configure([target], [other, {**dry, "state": "dry_run"}])
    found = {
        name: make_series(folder / name, 1, StationName=STATION, SeriesDescription=f"{name} brain")
        for name in ("t1", "t2")
    }
    for series in found.values():
        assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    for series in found.values():
        until("unmatched", lambda uid=series.uid: hermes.reached(uid, "unmatched"))
    return found


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A page of a rule has a large script, and what it says comes after it was asked for."""
    expect.set_options(timeout=20_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def admin(browser: Browser, hermes: Hermes, signed_in: Any, watch: Watch) -> Iterator[Page]:
    context = open_context(browser, hermes, signed_in, 1440, "light.utc.shown")
    yield watch.over(context.new_page())
    context.close()


def rules_of(hermes: Hermes) -> dict[str, dict[str, Any]]:
    with hermes.api() as api:
        return {rule["slug"]: rule for rule in api.document("rules").document["rules"]}


def text_face(page: Page) -> Any:
    """Turn to the expression and return where it is written."""
    page.locator(".faces label", has_text="Expression").click()
    return page.locator("#code .cm-content")


def written(page: Page) -> str:
    return str(page.locator("#expression").input_value())


def type_anew(page: Page, text: str) -> None:
    editor = text_face(page)
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Escape")


def test_a_rule_is_made_of_a_series_tried_tested_and_activated_without_any_text(
    admin: Page, hermes: Hermes, sent: dict[str, Series]
) -> None:
    admin.goto(f"/series/{sent['t1'].uid}")
    admin.get_by_role("link", name="Make a rule from this").click()
    expect(admin.locator("#tally")).to_contain_text("1 of the last")
    expect(admin.locator("#builder .sign.good").first).to_be_visible()
    expect(admin.locator("#case-list .badge.good")).to_have_text("passes")
    admin.get_by_role("button", name=f'+ StationName == "{STATION}"').click()
    value = admin.get_by_role("group", name="Condition", exact=True).filter(
        has=admin.locator('input[value="SeriesDescription"]')
    )
    value.get_by_label("Operator").select_option("ends with")
    value.get_by_label("Value", exact=True).fill("brain")
    expect(admin.locator("#tally")).to_contain_text("2 of the last")
    expect(admin.locator("#case-list .badge")).to_have_text("passes")
    admin.get_by_role("button", name="t2 brain").click()
    admin.get_by_role("button", name="must not match").click()
    expect(admin.locator("#case-list .badge.bad")).to_have_text("fails")
    expect(admin.locator("#case-list")).to_contain_text("expected no match, but it is match")
    admin.get_by_label("Name", exact=True).first.fill("From a series")
    admin.get_by_role("checkbox", name="The files").check()
    admin.get_by_role("button", name="Backtest").click()
    expect(admin.locator("#backtested")).to_contain_text("+2")
    expect(admin.locator(f'#backtested a[href="/series/{sent["t2"].uid}"]').first).to_be_visible()
    expect(admin.locator("#backtested")).to_contain_text("Overlaps with")
    admin.get_by_role("button", name="Review and save").click()
    expect(admin.get_by_text("test case fails", exact=True)).to_be_visible()
    expect(admin.get_by_role("button", name="Activate")).to_be_disabled()
    assert findings(admin) == []
    admin.get_by_role("button", name="Back to the editor").click()
    admin.locator("#case-list summary").nth(1).click()
    admin.locator("#case-list details").nth(1).get_by_label("remove this case").check()
    admin.get_by_role("button", name="Review and save").click()
    admin.get_by_label("Why this change").fill("second opinions")
    admin.get_by_role("button", name="Activate").click()
    admin.wait_for_url("**/rules?done=saved")
    rule = rules_of(hermes)["from-a-series"]
    assert (rule["state"], rule["targets"], len(rule["cases"])) == ("active", ["files"], 1)
    assert 'SeriesDescription ends with "brain"' in rule["expression"]


@pytest.mark.parametrize("scope", ["series", "study"])
def test_turning_between_rows_and_text_changes_nothing_and_a_change_of_rows_only_what_it_is_about(
    admin: Page, sent: dict[str, Series], scope: str
) -> None:
    text = RICH if scope == "series" else STUDY
    admin.goto("/rules/new")
    admin.locator("summary", has_text="More:").click()
    admin.get_by_label("Scope").select_option(scope)
    type_anew(admin, text)
    admin.locator(".faces label", has_text="Builder").click()
    expect(admin.locator("#builder .row").first).to_be_visible()
    text_face(admin)
    assert written(admin) == text
    admin.get_by_role("button", name="Format").click()
    expect(admin.locator("#expression")).not_to_have_value(text if scope == "series" else "")
    canonical = written(admin)
    admin.locator(".faces label", has_text="Builder").click()
    expect(admin.locator("#rule-form")).to_have_class("bench")  # nothing is asked for any more
    expect(admin.locator("#builder .row").first).to_be_visible()
    negation = admin.locator("#builder .row > .not").last
    negation.click()
    assert written(admin) != canonical
    admin.locator("#builder .row > .not").last.click()
    assert written(admin) == canonical
    admin.evaluate("scrollTo(0, 0)")  # what lies below the bar at the top is no target
    assert findings(admin) == []


def test_what_is_no_rule_stays_as_it_was_written_and_says_why(admin: Page, sent: dict[str, Series]) -> None:
    admin.goto("/rules/new")
    type_anew(admin, 'Modality = "CT"')
    expect(admin.locator("#said")).to_contain_text("Line 1, column 10")
    expect(admin.locator(".cm-lintRange-error")).to_have_count(1)
    admin.locator(".faces label", has_text="Builder").click()
    expect(admin.locator("#builder")).to_contain_text("The builder cannot show this text")
    assert written(admin) == 'Modality = "CT"'
    admin.locator("#said").get_by_role("button", name="Use ==").click()
    assert written(admin) == 'Modality == "CT"'
    expect(admin.locator("#builder .row")).to_have_count(1)


def test_a_bracket_typed_over_a_selection_is_put_around_it_and_other_text_in_its_place(
    admin: Page, sent: dict[str, Series]
) -> None:
    admin.goto("/rules/new")
    type_anew(admin, 'Modality == "MR"')
    admin.keyboard.press("Control+a")
    admin.keyboard.press("(")
    expect(admin.locator("#expression")).to_have_value('(Modality == "MR")')
    admin.keyboard.press("Control+a")
    admin.keyboard.press("n")
    expect(admin.locator("#expression")).to_have_value("n")


def test_text_is_completed_with_fields_operators_and_values_that_were_seen(
    admin: Page, sent: dict[str, Series]
) -> None:
    admin.goto("/rules/new")
    text_face(admin).click()
    admin.keyboard.type("StationN")
    expect(admin.locator(".cm-tooltip-autocomplete li").first).to_contain_text("StationName")
    admin.keyboard.press("Enter")
    admin.keyboard.type('== "WB')
    expect(admin.locator(".cm-tooltip-autocomplete li").first).to_contain_text(STATION)
    admin.keyboard.press("Enter")
    expect(admin.locator("#tally")).to_contain_text("2 of the last")
    assert written(admin).replace('""', '"') == f'StationName == "{STATION}"'
    expect(admin.locator(".cm-content .came-true")).to_have_text(f'StationName == "{STATION}"')


def test_rows_are_filled_in_with_the_keyboard_alone(admin: Page, sent: dict[str, Series]) -> None:
    admin.goto("/rules/new")
    field = admin.locator("#builder input[data-field]")
    field.focus()
    admin.keyboard.type("station name")
    expect(admin.locator(".choices li").first).to_contain_text("StationName")
    admin.keyboard.press("ArrowDown")
    admin.keyboard.press("Enter")
    expect(admin.locator("#builder").get_by_label("Operator")).to_be_visible()
    admin.locator("#builder").get_by_label("Value", exact=True).focus()
    expect(admin.locator(".row-values .choices li").first).to_be_visible()
    admin.keyboard.type(STATION)
    expect(admin.locator("#tally")).to_contain_text("2 of the last")
    assert written(admin) == f'StationName == "{STATION}"'


def test_what_another_administrator_saved_meanwhile_is_shown_and_both_changes_are_kept(
    admin: Page, hermes: Hermes, sent: dict[str, Series]
) -> None:
    admin.goto("/rules/other")
    admin.get_by_label("Name", exact=True).first.fill("Ultrasound")
    with hermes.api() as api:
        stored = api.document("rules")
        rules = [
            {**rule, "contact": "dept 7"} if rule["slug"] == "other" else rule for rule in stored.document["rules"]
        ]
        api.save("rules", {"rules": rules}, stored.etag, "a contact")
    admin.get_by_role("button", name="Review and save").click()
    expect(admin.get_by_text("Somebody else saved first.")).to_be_visible()
    expect(admin.locator("#meanwhile + h3")).to_contain_text("other")
    expect(admin.get_by_text("Taken over into yours")).to_contain_text("contact")
    assert findings(admin) == []
    admin.get_by_role("button", name="Save, active").click()
    admin.wait_for_url("**/rules?done=saved")
    rule = rules_of(hermes)["other"]
    assert (rule["name"], rule["contact"]) == ("Ultrasound", "dept 7")


def test_the_order_is_changed_with_the_keyboard_and_matches_are_counted(
    admin: Page, hermes: Hermes, sent: dict[str, Series]
) -> None:
    def counted() -> Any:
        admin.goto("/rules")
        expect(admin.locator("#counted")).to_contain_text("matches counted")
        return re.search(r"[2-9] dry", admin.locator('tr[data-slug="dry"] [data-hits="week"]').inner_text())

    until("counted again: what was counted is kept for a minute", counted, within=75, every=3)
    before = list(rules_of(hermes))
    handle = admin.get_by_role("button", name="Place of Dry")
    handle.focus()
    admin.keyboard.press("ArrowUp")
    expect(admin.locator("#rules-said")).to_contain_text("Place 1 of")
    admin.keyboard.press("Escape")
    assert admin.locator("tbody tr").first.get_attribute("data-slug") == before[0]
    handle.focus()
    admin.keyboard.press("ArrowUp")
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/rules?done=saved")
    assert next(iter(rules_of(hermes))) == "dry"
    admin.goto("/rules/dry")
    expect(admin.locator("#would")).to_contain_text("t2 brain")


def test_without_scripts_the_form_makes_a_rule_all_the_same(
    browser: Browser, hermes: Hermes, signed_in: Any, sent: dict[str, Series]
) -> None:
    context = browser.new_context(base_url=hermes.url, storage_state=signed_in, java_script_enabled=False)
    page = context.new_page()
    page.goto("/rules/new")
    page.get_by_label("Name", exact=True).first.fill("Plain")
    page.get_by_role("textbox", name="Expression").fill('Modality == "MG"')
    page.get_by_role("checkbox", name="The files").check()
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("button", name="Draft").click()
    assert rules_of(hermes)["plain"]["state"] == "draft"
    context.close()


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (390, "light"), (390, "dark"), (1440, "light")])
def test_no_page_of_the_workbench_has_a_finding_or_anything_that_sticks_out(
    browser: Browser, hermes: Hermes, signed_in: Any, watch: Watch, sent: dict[str, Series], width: int, theme: str
) -> None:
    context = open_context(browser, hermes, signed_in, width, f"{theme}.utc.shown")
    page = watch.over(context.new_page())
    wrong = {}
    for path in ("/rules", "/rules/dry", f"/rules/new?series={sent['t1'].uid}", "/rules/_mercure", "/history/rules"):
        page.goto(path)
        if path.startswith("/rules/") and "_" not in path:
            expect(page.locator("#tally")).to_contain_text("of the last")
        faces = [None, "Expression"] if page.locator(".faces:visible").count() else [None]
        for face in faces:
            if face:
                text_face(page)
            found = findings(page)
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append("it is wider than the window")
            if found:
                wrong[f"{path} {face or ''}"] = found
    context.close()
    assert wrong == {}


def test_the_report_on_an_old_configuration_comes_before_anything_is_added(
    admin: Page, hermes: Hermes, sent: dict[str, Series], tmp_path: Path
) -> None:
    old = {
        "targets": {"Archive": {"target_type": "folder", "folder": str(tmp_path)}},
        "rules": {
            "Heads": {"rule": "'head' in @StudyDescription@", "target": "Archive", "action": "route"},
            "Odd": {"rule": "exec('x')", "target": "Archive", "action": "route"},
        },
    }
    file = tmp_path / "mercure.json"
    file.write_text(json.dumps(old))
    before = rules_of(hermes)
    admin.goto("/rules/_mercure")
    admin.get_by_label("Configuration of Mercure").set_input_files(file)
    admin.get_by_role("button", name="Show the report").click()
    expect(admin.locator("#report")).to_contain_text("rules.Odd.rule")
    assert rules_of(hermes) == before
    assert findings(admin) == []
    admin.get_by_role("button", name="Add what can be added").click()
    admin.wait_for_url("**/rules?done=imported")
    added = rules_of(hermes)["heads"]
    assert (added["state"], added["expression"]) == ("dry_run", 'StudyDescription contains "head"')
