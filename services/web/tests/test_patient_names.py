"""Names of patients where the installation shows them to administrators alone."""

from typing import Any

import pytest
from sqlalchemy import text

from hermes_web.app import build
from hermes_web.http.headers import Shell
from hermes_web.web import Web

SERIES = "1.2.826.0.1.3680043.2.1125.1"
STUDY = "1.2.826.0.1.3680043.2.1125"
NAME, NUMBER = "DOE^JANE", "4711"
PAGES = ("/series", f"/series/{SERIES}", f"/studies/{STUDY}", f"/rules/_test?series={SERIES}", "/deliveries", "/audit")
RULE = 'PatientName contains "DOE" and PatientID is present'


@pytest.fixture
def strict(web: Web, browse, make_ledger) -> Any:
    """The application of an installation that masks names."""
    make_ledger()
    web.settings.patient_names = "administrators"
    return Shell(build(web))


async def signed_in(app: Any, browse: Any, name: str) -> Any:
    client = browse(app)
    assert (await client.sign_in(name)).status_code == 303
    client.http.cookies.set("hermes-view", "light.utc.shown", domain="hermes.test")  # what a person wants is no right
    return client


async def everything(client: Any, headers: dict[str, str]) -> str:
    """Return whatever pages, the API and exports say of a series."""
    told = [(await client.get(path)).text for path in PAGES]
    form = {"expression": RULE, "scope": "series", "series": SERIES, "name": "x", "action": "route"}
    told.append((await client.post("/rules/_live", form)).text)
    told.append((await client.get("/series/_export?format=csv")).text)
    for path in (
        "/series",
        f"/series/{SERIES}",
        f"/series/{SERIES}/instances",
        f"/series/{SERIES}/timeline",
        f"/studies/{STUDY}",
        "/series/export",
        "/series/export?masked=false",
        "/rules/values?field=PatientName",
    ):
        answer = await client.http.get(f"/api/v1{path}", headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        told.append(answer.text)
    asked = {"series_uid": SERIES, "expression": RULE}
    answer = await client.http.post("/api/v1/rules/test", json=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "PatientName contains" in answer.text
    told.append(answer.text)
    return "\n".join(told)


async def test_a_viewer_finds_names_neither_on_pages_nor_in_the_api_whatever_the_cookie_says(
    strict: Any, browse
) -> None:
    viewer = await signed_in(strict, browse, "vera")
    headers = {"x-csrf-token": viewer.csrf, "origin": viewer.origin, "sec-fetch-site": "same-origin"}
    told = await everything(viewer, headers)
    assert "t1_mprage" in told
    assert NAME not in told
    assert f'"{NUMBER}"' not in told
    assert f"({NUMBER})" not in told
    columns = await viewer.http.get("/api/v1/series/export?columns=patient_name", headers=headers)
    assert columns.status_code == 422
    assert (await viewer.post("/account/names", {"show": "yes", "reason": "curious"})).status_code == 403
    assert "only an administrator" in (await viewer.get("/series")).text


async def test_an_administrator_has_them_shown_in_one_session_with_a_reason_that_is_audited(
    strict: Any, browse, web: Web
) -> None:
    admin, other = await signed_in(strict, browse, "admin"), await signed_in(strict, browse, "admin")
    headers = {"x-csrf-token": admin.csrf, "origin": admin.origin, "sec-fetch-site": "same-origin"}
    assert NAME not in await everything(admin, headers)
    assert "say why" in (await admin.post("/account/names", {"show": "yes"})).text
    assert (await admin.post("/account/names", {"show": "yes", "reason": "ticket 12"})).status_code == 303
    assert NAME in await everything(admin, headers)
    assert NAME not in (await other.get("/series")).text, "the right is of the session"
    assert (await admin.post("/account/names", {"show": "no"})).status_code == 303
    assert NAME not in await everything(admin, headers)
    rows = text("SELECT body->>'detail' FROM accounts.outbox WHERE body->>'detail' LIKE '%names of patients%'")
    said = await web.database.run(lambda connection: list(connection.execute(rows).scalars()))
    assert said == ["names of patients shown in this session: ticket 12", "names of patients masked again"]


async def test_a_token_sees_names_by_its_role(strict: Any, browse, api) -> None:
    for role, is_shown in (("viewer", False), ("admin", True)):
        made = (await api.post("/api/v1/tokens", json={"name": role, "role": role})).json()["token"]
        answer = await api.get(f"/api/v1/series/{SERIES}", headers={"authorization": f"Bearer {made}"})
        assert (NAME in answer.text) is is_shown


async def test_without_the_policy_a_mask_is_a_view(viewer, make_ledger) -> None:
    make_ledger()
    assert NAME in (await viewer.get("/series")).text
    viewer.http.cookies.set("hermes-view", "light.utc.masked", domain="hermes.test")
    assert NAME not in (await viewer.get("/series")).text
