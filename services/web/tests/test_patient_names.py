"""Names of patients where the installation shows them to administrators alone."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.aio.msg import Msg
from sqlalchemy import Connection, create_engine, insert, text

from hermes_common import ledger
from hermes_common.previews import ASK, Difference, Preview
from hermes_common.runtime.bus import Bus
from hermes_web.app import build
from hermes_web.core.columns import is_personal
from hermes_web.core.suggesting import case_tags
from hermes_web.core.view import View, without_names
from hermes_web.http.headers import Shell
from hermes_web.web import Web

from .test_forgery import PAGES as EVERY_PAGE
from .test_forgery import configure

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
    told += [(await client.get(path)).text for path in ("/series/_export?format=csv", "/audit/_export")]
    for path in (
        "/series",
        f"/series/{SERIES}",
        f"/series/{SERIES}/instances",
        f"/series/{SERIES}/timeline",
        f"/studies/{STUDY}",
        "/series/export",
        "/series/export?masked=false",
        "/audit/export",
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


async def test_what_an_administrator_searched_for_and_exported_names_nobody_to_a_viewer_of_the_audit(
    strict: Any, browse: Any, database_url: str
) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for number, (query, column) in enumerate([(f"patient:{NAME}", "series_uid"), ("audit actor:ann", "event_id")]):
            detail = {"query": query, "format": "csv", "columns": [column], "masked": False}
            connection.execute(
                insert(ledger.audit).values(
                    event_id=f"exported-{number}",
                    time=datetime.now(UTC),
                    actor="ann",
                    action="export.made",
                    about="series",
                    detail=detail,
                )
            )
    engine.dispose()
    viewer = await signed_in(strict, browse, "vera")
    headers = {"x-csrf-token": viewer.csrf, "origin": viewer.origin, "sec-fetch-site": "same-origin"}
    told = [(await viewer.get(path)).text for path in ("/audit", "/audit/_export")]
    told += [(await viewer.http.get(f"/api/v1{path}", headers=headers)).text for path in ("/audit", "/audit/export")]
    for text_ in told:
        assert "audit actor:ann" in text_, "this is about no patient"
        assert NAME not in text_


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


MARK = "UNSEEN"
"""In every value of the patient of the next tests, and in nothing else."""
TAGS = {
    "PatientName": ["UNSEENNAME^UNSEENFIRST"],
    "PatientID": ["UNSEENID"],
    "PatientSize": ["UNSEENSIZE"],
    "PatientBirthDate": ["UNSEENBORN"],
    "PatientComments": ["UNSEENSAID"],
    "ResponsiblePerson": ["UNSEENMOTHER"],
    "OtherPatientIDsSequence.PatientID": ["UNSEENOTHER"],
}
WHY = "PatientSize: 'UNSEENSIZE' is not a number"
IN_PATHS = {
    "uid": SERIES,
    "delivery_id": "0e7a7c5e-5f1b-5d0e-9a65-000000000001",
    "number": "1",
    "kind": "rules",
    "reception_id": f"{1:032x}",
    "slug": "brain",
    "name": "vera",
    "alert_id": "delivery_failed",
}
SOUGHT = {"/rules/values": "?field=PatientName", "/rules/revisions/compare": "?from=0&to=1"}


MARKING = text("UPDATE ledger.series SET tags = tags || CAST(:tags AS jsonb), patient_name = :name, patient_id = :id")
FAILING = text("UPDATE ledger.decisions SET decision = jsonb_set(decision, '{rules,9}', CAST(:rule AS jsonb))")


def mark(connection: Connection) -> None:
    """Give the series a patient who is told from everything else, and a rule that could not read the size."""
    values = {"tags": json.dumps(TAGS), "name": TAGS["PatientName"][0], "id": TAGS["PatientID"][0]}
    connection.execute(MARKING, values)
    clause = {"text": "PatientSize > 1.5", "start": 0, "end": 17, "outcome": "unknown", "seen": ["UNSEENSIZE"]}
    rule = {"slug": "tall", "name": "Tall", "state": "active", "status": "unknown", "verdict": "unknown"}
    rule |= {"expression": "PatientSize > 1.5", "clauses": [{**clause, "reason": WHY}], "reason": WHY}
    connection.execute(FAILING, {"rule": json.dumps(rule)})


@pytest.fixture
async def marked(strict: Any, web: Web, api: Any, bus: Bus) -> Any:
    """The same with such a patient, and a dispatcher that previews what a target changes."""
    await web.database.run(mark)
    await configure(api)

    async def answer(message: Msg) -> None:
        lines = [Difference(name=name, vr="LO", before=one, after=f"R-{one}") for name, (one,) in TAGS.items()]
        lines.append(Difference(name="(0019,1001)", vr="PN", before="UNSEENPRIVATE", after=None))
        lines.append(Difference(name="StudyDescription", vr="LO", before="knee", after=None))
        found = Preview(ok=True, sop_instance_uid="2.25.9", transfer_syntax_uid="1.2.840.10008.1.2", differences=lines)
        await message.respond(found.model_dump_json().encode())

    await bus.nc.subscribe(ASK, cb=answer)
    return strict


def looked_at(app: Any) -> Iterator[str]:
    """Yield the address of every answer of the API that is to be looked at."""
    for route in app.routes:
        handlers = [each for each in route.route_handlers if "GET" in each.http_methods and each.opt.get("api")]
        if handlers:
            path = re.sub(r"\{(\w+):\w+\}", lambda match: IN_PATHS[match[1]], route.path)
            yield path + SOUGHT.get(path.removeprefix("/api/v1"), "")


async def every_answer(client: Any, web: Web) -> dict[str, str]:
    """Return whatever is said to somebody, by where."""
    headers = {"x-csrf-token": client.csrf, "origin": client.origin, "sec-fetch-site": "same-origin"}
    told = {path: (await client.get(path)).text for path in (*EVERY_PAGE, "/series/_export", "/palette")}
    for path in looked_at(build(web)):
        told[path] = (await client.http.get(path, headers=headers)).text
    rule = {"expression": "PatientSize > 1.5 and ResponsiblePerson is present", "scope": "series", "series": SERIES}
    rule |= {"name": "tall", "slug": "tall", "action": "route", "targets": "pacs", "days": "30"}
    preview = {"kind": "folder", "slug": "n", "name": "n", "path": "/var/tmp", "revision": "1"}
    for path, form in {
        **dict.fromkeys(("/rules/_live", "/rules/_case", "/rules/_test", "/rules/_backtest"), rule),
        "/rules/_live_backtest": rule,
        "/targets/pacs/preview": {**preview, "preview_series": SERIES, "changes.edits": "remove PatientID"},
    }.items():
        told[f"POST {path}"] = (await client.post(path, form)).text
    rules = {"slug": "tall", "name": "Tall", "expression": rule["expression"], "targets": ["pacs"], "state": "active"}
    for path, document in {
        "/rules/test": {"series_uid": SERIES, "expression": rule["expression"]},
        "/rules/backtest": {"rules": {"rules": [rules]}},
        "/targets/pacs/preview": {"series_uid": SERIES},
    }.items():
        told[f"POST {path}"] = (await client.http.post(f"/api/v1{path}", json=document, headers=headers)).text
    return told


@pytest.mark.parametrize("name", ["vera", "admin"])
async def test_no_page_and_no_answer_has_anything_of_a_patient_for_who_may_not_see_names(
    marked: Any, browse: Any, web: Web, name: str
) -> None:
    client = await signed_in(marked, browse, name)
    told = await every_answer(client, web)
    assert {where for where, said in told.items() if MARK in said} == set()
    assert "masked" in told[f"/series/{SERIES}"]
    assert "PatientSize &gt; 1.5" in told[f"/series/{SERIES}"]
    assert told["POST /rules/backtest"].count("PatientSize > 1.5") > 2
    assert ("knee" in told["POST /targets/pacs/preview"]) is (name == "admin")
    if name == "admin":
        assert (await client.post("/account/names", {"show": "yes", "reason": "ticket 12"})).status_code == 303
        told = await every_answer(client, web)
        shown = {where for where, said in told.items() if MARK in said}
        assert {f"/series/{SERIES}", f"/api/v1/series/{SERIES}", "/series/_export", "POST /rules/test"} <= shown
        assert {"POST /targets/pacs/preview", "POST /rules/_live", "/api/v1/rules/values?field=PatientName"} <= shown


async def test_a_picture_is_refused_with_words_that_are_about_names(strict: Any, browse) -> None:
    viewer = await signed_in(strict, browse, "vera")
    headers = {"x-csrf-token": viewer.csrf, "origin": viewer.origin, "sec-fetch-site": "same-origin"}
    refused = await viewer.http.get(f"/api/v1/series/{SERIES}/thumbnail", headers=headers)
    said = refused.json()
    assert (refused.status_code, said["type"]) == (403, "urn:hermes:problem:names-masked")
    assert "names of patients" in said["title"].lower()
    assert "Your account" in said["action"]


def test_what_says_who_a_patient_is_is_found_anywhere_in_the_name_of_an_attribute() -> None:
    assert is_personal("OtherPatientIDsSequence.IdentifierTypeCode")
    assert case_tags(TAGS, list(TAGS)) == {}
    hidden = View(names="masked")
    rule = {"clauses": [], "reason": WHY}
    assert without_names(hidden, rule)["reason"] == "masked"
    assert without_names(hidden, {**rule, "reason": "SliceThickness is absent"})["reason"] == "SliceThickness is absent"
    assert without_names(hidden, {"reason": "Patient moved"}) == {"reason": "Patient moved"}, "a person wrote it"
