"""Small pictures on the page of a series, and what an open page does when its series goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from browsing import Watch, findings, open_context
from harness import Hermes, StoreScp, free_port, make_series, rule, storescu, target, until
from playwright.sync_api import Browser, expect
from pydicom.data import get_testdata_file

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(180)]

LOADED = "() => [...document.querySelectorAll('img.picture')].every(image => image.complete && image.naturalWidth > 0)"
TYPES = """() => Promise.all([...document.querySelectorAll("img.picture")].map(
  image => fetch(image.src).then(answer => answer.headers.get("content-type"))))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_series_shows_its_pictures_and_one_that_has_none_says_why(
    browser: Browser,
    hermes: Hermes,
    signed_in: Any,
    watch: Watch,
    peer: Callable[[str, str], str],
    tmp_path: Path,
    theme: str,
) -> None:
    hermes.configure([], [])
    images = make_series(tmp_path / "ct", 3, 20_000)
    report = pydicom.dcmread(str(get_testdata_file("test-SR.dcm")))
    report.StudyInstanceUID, report.SeriesInstanceUID = images.study_uid, f"{images.study_uid}.2"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = f"{images.study_uid}.2.1"
    report.save_as(tmp_path / "report.dcm")
    program = peer("storescu", "dcmtk")
    for files in (images.files, [tmp_path / "report.dcm"]):
        assert storescu(program, hermes.dicom_port, files, "-R").returncode == 0
    uids = (images.uid, str(report.SeriesInstanceUID))
    for uid in uids:
        until("unmatched", lambda uid=uid: hermes.reached(uid, "unmatched"))
    context = open_context(browser, hermes, signed_in, 1200, f"{theme}.utc.shown")
    page = watch.over(context.new_page())
    for uid, count, kind in zip(uids, (4, 2), ("image/png", "image/svg+xml"), strict=True):
        page.goto(f"/series/{uid}")
        expect(page.locator("img.picture")).to_have_count(count)
        page.locator("#instances").scroll_into_view_if_needed()
        page.wait_for_function(LOADED)
        assert page.evaluate(TYPES) == [kind] * count
        assert findings(page) == []
    context.close()
    masked = open_context(browser, hermes, signed_in, 390, f"{theme}.utc.masked")
    page = watch.over(masked.new_page())
    page.goto(f"/series/{uids[0]}")
    expect(page.get_by_text("Pictures are hidden while names of patients are masked")).to_be_visible()
    expect(page.locator("img.picture")).to_have_count(0)
    masked.close()


def test_an_open_page_of_a_series_shows_by_itself_where_it_has_gone(
    browser: Browser, hermes: Hermes, signed_in: Any, watch: Watch, peer: Callable[[str, str], str], tmp_path: Path
) -> None:
    scp = StoreScp(peer("storescp", "dcmtk"), tmp_path / "pacs", free_port())
    scp.start()
    hermes.configure([target("pacs", scp.port)], [rule("none", 'Modality == "XX"', "pacs")])
    series = make_series(tmp_path / "ct", 1)
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    until("unmatched", lambda: hermes.reached(series.uid, "unmatched"))
    context = open_context(browser, hermes, signed_in, 1200, "light.utc.shown")
    page = watch.over(context.new_page())
    page.goto(f"/series/{series.uid}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.evaluate("window.sameDocument = true")
    with hermes.api() as api:
        api.post(f"/series/{series.uid}/route", {"targets": ["pacs"]})
    expect(page.locator("#deliveries article").get_by_text("1 of 1 instance delivered")).to_be_visible(timeout=30_000)
    assert page.evaluate("window.sameDocument") is True  # it was not loaded again
    context.close()
    scp.stop()
