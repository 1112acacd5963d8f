"""In a real browser: a second factor, quarantine, the first steps, and the system page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from browsing import Watch, findings, open_context
from harness import Hermes, make_series, until
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(180)]

PASSWORD = "mossy lantern 47 orbit"


@pytest.fixture
def admin(browser: Browser, hermes: Hermes, signed_in: Any, watch: Watch) -> Iterator[Page]:
    context = open_context(browser, hermes, signed_in, 1200, "light.utc.shown")
    yield watch.over(context.new_page())
    context.close()


def sign_in(page: Page, name: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("User").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_second_factor_is_set_up_from_the_drawn_code_and_asked_for_at_the_next_sign_in(
    page: Page, hermes: Hermes
) -> None:
    with hermes.api() as api:
        api.post("/users", {"name": "frida", "password": PASSWORD, "role": "viewer"})
    sign_in(page, "frida")
    page.wait_for_url(hermes.url + "/")
    page.goto("/account")
    page.get_by_role("link", name="Set up").click()
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    image = page.get_by_role("img", name="QR code")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.complete && image.naturalWidth > 100")
    assert findings(page) == []
    secret = page.locator("code.secret").inner_text().replace(" ", "")
    page.get_by_label("The six digits").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Confirm").click()
    codes = page.locator(".codes li")
    expect(codes).to_have_count(10)
    recovery = codes.first.inner_text()
    assert findings(page) == []
    page.get_by_role("link", name="I have kept them").click()
    page.get_by_role("button", name=re.compile("Account of")).click()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "frida")
    page.wait_for_url("**/sign-in/code?*")
    page.get_by_label("Code").fill(recovery)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(hermes.url + "/")


def quarantined(hermes: Hermes, folder: Path) -> tuple[str, str]:
    """Have something put into quarantine; return its id and the UID of its series."""
    series = make_series(folder, 1)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + series.files[0].read_bytes() + b"\r\n--x--"
    headers = {
        "Authorization": f"Bearer {hermes.variables['HERMES_ADMIN_TOKEN']}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
    }
    answer = httpx.post(hermes.url + "/dicom-web/studies/1.2.3", content=body, headers=headers, trust_env=False)
    assert answer.status_code == 409
    with hermes.api() as api:
        kept = until(
            "in quarantine",
            lambda: [q for q in api.get("/quarantine")["items"] if q["sop_instance_uid"] == f"{series.uid}.1"],
        )
    return kept[0]["reception_id"], series.uid


def test_what_is_in_quarantine_is_downloaded_and_submitted_again_by_a_person(
    admin: Page, hermes: Hermes, tmp_path: Path
) -> None:
    kept, uid = quarantined(hermes, tmp_path / "one")
    admin.goto("/quarantine")
    with admin.expect_download() as loading:
        admin.locator(f'a[href="/quarantine/{kept}"]').click()
    assert b"DICM" in Path(loading.value.path()).read_bytes()[:140]
    with hermes.api() as api:
        taken = until(
            "the download in the audit",
            lambda: [r for r in api.get("/audit")["items"] if r["action"] == "instance.downloaded"],
        )
    assert (taken[0]["actor"], taken[0]["about"]) == ("admin", kept)
    admin.locator(f'input[value="{kept}"]').check()
    admin.get_by_role("button", name="Submit", exact=False).click()
    admin.get_by_role("dialog").get_by_role("button", name=re.compile("Submit")).click()
    expect(admin.get_by_role("heading", name="1 of 1 submission became an instance")).to_be_visible()
    assert findings(admin) == []
    with hermes.api() as api:
        until("the series", lambda: [s for s in api.get("/series")["items"] if s["series_uid"] == uid])
        rows = until(
            "the audit", lambda: [r for r in api.get("/audit")["items"] if r["action"] == "instance.resubmitted"]
        )
    assert (rows[0]["actor"], rows[0]["about"], rows[0]["detail"]["stored"]) == ("admin", kept, True)


def test_the_first_steps_name_the_port_of_the_receiver_and_the_system_page_every_service(
    admin: Page, hermes: Hermes
) -> None:
    admin.goto("/start")
    expect(admin.get_by_text(str(hermes.dicom_port), exact=True)).to_be_visible()
    admin.goto("/system")
    for name in ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web"):
        expect(admin.locator("#system tbody").first.get_by_text(f"{name}@")).to_be_visible()
    expect(admin.get_by_role("heading", name="object store")).to_be_visible()
    with admin.expect_download() as loading:
        admin.get_by_role("link", name="Download").click()
    assert Path(loading.value.path()).read_bytes()[:2] == b"PK"
