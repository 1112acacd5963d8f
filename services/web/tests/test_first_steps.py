"""The first steps: on an empty router, left and resumed, and what is said when one fails."""

from typing import Any

from sqlalchemy import create_engine, insert, text

from hermes_common import ledger
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.health import Health
from hermes_common.runtime.selfreport import answer_questions
from hermes_common.targettests import ASK, Step, TargetTested
from hermes_web.core.firststeps import Found, done_steps, next_step
from hermes_web.core.firststeps import Step as First
from hermes_web.web import Web


def empty_history(url: str, **rejected: Any) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
        ledger.metadata.create_all(connection)
        if rejected:
            row = {"association_id": "r", "state": "rejected", "opened_at": now(), "last_seq": 1, **rejected}
            connection.execute(insert(ledger.associations), row)
    engine.dispose()


def test_what_is_done_follows_from_what_there_is_in_any_order() -> None:
    assert next_step(done_steps(Found(0, 0, False, 0, 0))) is First.SOURCE
    assert next_step(done_steps(Found(1, 1, False, 1, 1))) is First.TARGET
    assert done_steps(Found(0, 1, True, 0, 1)) == {First.TARGET, First.SERIES}
    assert next_step(done_steps(Found(1, 1, True, 1, 1))) is None


async def test_on_an_empty_router_it_says_what_to_type_into_the_scanner_and_who_was_refused(
    web: Web, bus: Bus, database_url: str, admin
) -> None:
    empty_history(database_url, calling_aet="CT01", called_aet="WRONG", address="10.0.0.9", reason="not in the list")
    health = Health()
    health.words.update(dicom_aet="HERMES", dicom_port="11112")
    await answer_questions(bus, health, "receiver", "receiver@host.1", "1", now())
    page = (await admin.get("/start")).text
    for word in ("0 of 4 done", "11112", "hermes.test", "CT01", "not in the list", "Nothing has arrived yet"):
        assert word in page
    overview = (await admin.get("/")).text
    assert "First steps:" in overview


async def test_they_are_skipped_and_resumed_and_a_viewer_can_do_neither(web, database_url: str, admin, viewer) -> None:
    empty_history(database_url)
    assert (await viewer.post("/start/skip")).status_code == 403
    assert "No receiver answers" in (await viewer.get("/start")).text
    assert (await admin.post("/start/skip")).headers["location"] == "/?done=skipped"
    assert "First steps:" not in (await admin.get("/")).text
    assert (await admin.post("/start/resume")).status_code == 303
    assert "First steps:" in (await admin.get("/")).text
    assert "First steps:" not in (await viewer.get("/")).text


async def test_a_target_is_done_when_it_has_passed_its_test(web: Web, bus: Bus, database_url: str, admin, api) -> None:
    empty_history(database_url)
    target = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "127.0.0.1", "port": 104, "called_aet": "PACS"}
    answer = await api.put("/api/v1/targets", json={"targets": [target]}, headers={"if-match": '"0"'})
    assert answer.status_code == 200, answer.text
    passes = False

    async def tell(question: Any) -> None:
        step = Step(name="C-ECHO", ok=passes, milliseconds=3.0, detail="<b>refused</b>")
        await question.respond(TargetTested(target="pacs", ok=passes, steps=(step,)).model_dump_json().encode())

    await bus.nc.subscribe(ASK, cb=tell)
    page = (await admin.post("/start/test", {"target": "pacs"})).text
    assert "&lt;b&gt;refused&lt;/b&gt;" in page
    assert "0 of 4 done" in page
    passes = True
    assert "1 of 4 done" in (await admin.post("/start/test", {"target": "pacs"})).text
    assert "there is no target" in (await admin.post("/start/test", {"target": "none"})).text


async def test_when_all_is_done_nothing_is_shown_on_the_overview(web: Web, admin, api, make_ledger) -> None:
    make_ledger()
    target = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "127.0.0.1", "port": 104, "called_aet": "PACS"}
    source = {"slug": "ct", "name": "CT", "calling_aet": "CT01"}
    rule = {"slug": "r", "name": "R", "expression": 'Modality == "CT"', "targets": ["pacs"]}
    for kind, document in (
        ("targets", {"targets": [target]}),
        ("sources", {"sources": [source]}),
        ("rules", {"rules": [rule]}),
    ):
        answer = await api.put(f"/api/v1/{kind}", json=document, headers={"if-match": '"0"'})
        assert answer.status_code == 200, answer.text
    assert "4 of 4 done" in (await admin.get("/start")).text
    assert "First steps:" not in (await admin.get("/")).text
