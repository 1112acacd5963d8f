"""What a person does, in a real browser: sign in, write a rule, see a series arrive and why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Hermes, StoreScp, make_series, rule, storescu, target, until
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(180)]


def sign_in(page: Page, hermes: Hermes) -> None:
    """Sign in as the administrator."""
    password = json.loads((hermes.home / "secrets.json").read_text())["admin_password"]
    page.goto("/")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_from_signing_in_to_a_delivered_series(
    page: Page, hermes: Hermes, storescp: Callable[[str], StoreScp], peer: Callable[[str, str], str], tmp_path: Path
) -> None:
    scp = storescp("pacs")
    hermes.configure([target("pacs", scp.port)], [])
    sign_in(page, hermes)
    page.goto("/rules/new")
    page.locator("#name").fill("CT to the PACS")
    page.locator(".faces label", has_text="Expression").click()
    expression = page.get_by_role("textbox", name="Expression")
    expression.fill('Modality = "CT"')
    page.get_by_role("checkbox", name="pacs").check()
    page.get_by_role("button", name="Review and save").click()
    expect(page.locator("#said")).to_contain_text("Line 1", timeout=20_000)
    expect(page.locator(".cm-lintRange-error")).to_have_count(1)
    expression.fill('Modality == "CT"')
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("button", name="Save, active").click()
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


def test_the_state_beside_the_heading_of_a_series_goes_along_with_what_happens(
    page: Page, hermes: Hermes, storescp: Callable[[str], StoreScp], peer: Callable[[str, str], str], tmp_path: Path
) -> None:
    scp = storescp("later")
    hermes.configure([target("later", scp.port)], [rule("ct", 'Modality == "CT"', "later")], quiet="8s")
    sign_in(page, hermes)
    series = make_series(tmp_path / "series", 2)
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    until("received", lambda: hermes.series(series.uid), 20)
    page.goto(f"/series/{series.uid}")
    expect(page.locator(".heading .badge")).to_have_text("receiving")
    page.evaluate("window.isTheSamePage = true")
    expect(page.locator(".heading .badge")).to_have_text("delivered", timeout=30_000)
    assert page.evaluate("window.isTheSamePage")
