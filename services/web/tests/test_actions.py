"""Series and deliveries: lists, pages of them, and commands that arrive on the bus."""

import csv
import io
import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import httpx
import pyarrow.parquet
from sqlalchemy import create_engine, text

from hermes_common import subjects
from hermes_common.events import (
    DeliveryHeld,
    ExportMade,
    InstanceDownloaded,
    InstanceResubmitted,
    StudyCompleted,
    UserChanged,
)
from hermes_common.runtime.bus import Bus
from hermes_web.web import Web

SERIES = "1.2.826.0.1.3680043.2.1125.1"
FAILED_DELIVERY = "0e7a7c5e-5f1b-5d0e-9a65-000000000002"
QUEUED_DELIVERY = "0e7a7c5e-5f1b-5d0e-9a65-000000000003"
BULK_ID = "0195d3a0-0000-7000-8000-0000000000b1"
PACS = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "127.0.0.1", "port": 1, "called_aet": "PACS"}


async def commands(bus: Bus, subject: str) -> list[dict[str, object]]:
    found = []
    consumer = await bus.js.pull_subscribe(subject, "reader", stream=subjects.WORK)
    for message in await consumer.fetch(20, timeout=1):
        found.append(json.loads(message.data))
        await message.ack()
    return found


async def test_actions_on_series_arrive_as_commands(api: httpx.AsyncClient, admin, bus: Bus, make_ledger) -> None:
    make_ledger()
    await api.put("/api/v1/targets", json={"targets": [PACS]}, headers={"if-match": '"0"'})
    asked = await api.post(
        f"/api/v1/series/{SERIES}/route", json={"targets": ["pacs"], "reason": "for the tumour board"}
    )
    assert asked.status_code == 202
    assert (await api.post(f"/api/v1/series/{SERIES}/reevaluate")).status_code == 202
    assert (await admin.post(f"/series/{SERIES}/discard", {"reason": "a phantom"})).status_code == 303
    found = await commands(bus, subjects.SERIES_COMMANDS)
    assert [(each["action"], each["actor"], each["reason"]) for each in found] == [
        ("route", "token automation", "for the tumour board"),
        ("reevaluate", "token automation", ""),
        ("discard", "admin", "a phantom"),
    ]
    assert found[0]["targets"] == ["pacs"]
    assert found[0]["command_id"] == asked.json()["command_id"]


async def test_what_cannot_be_done_is_refused_with_the_reason(api: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()
    unknown = await api.post(f"/api/v1/series/{SERIES}/route", json={"targets": ["nowhere"]})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "targets[0]")
    assert (await api.post("/api/v1/series/1.2.3/discard")).status_code == 404
    assert (await api.post("/api/v1/series/..%2f..%2fetc/discard")).status_code == 404
    assert (await api.post("/api/v1/series/no-uid/discard")).status_code == 404
    running = await api.post(f"/api/v1/deliveries/{QUEUED_DELIVERY}/dismiss")
    assert running.status_code == 409
    assert "only a failed delivery" in running.json()["detail"]


async def test_actions_on_deliveries_arrive_as_commands(api: httpx.AsyncClient, admin, bus: Bus, make_ledger) -> None:
    make_ledger()
    restart = await api.post(
        f"/api/v1/deliveries/{FAILED_DELIVERY}/restart", json={"scope": "all", "reason": "new disk"}
    )
    assert restart.status_code == 202
    assert (await admin.post(f"/deliveries/{QUEUED_DELIVERY}/cancel", {"reason": "a test"})).status_code == 303
    bulk = await api.post("/api/v1/deliveries/bulk", json={"action": "restart", "state": "failed", "target": "pacs"})
    assert (bulk.status_code, bulk.json()["asked"], bulk.json()["skipped"]) == (202, 1, 0)
    ticked = {"action": "restart", "which": "ticked", "ids": FAILED_DELIVERY}
    assert (await admin.post("/deliveries/bulk", ticked)).status_code == 303
    found = await commands(bus, subjects.DELIVERY_COMMANDS)
    assert [(each["delivery_id"], each["action"], each["scope"]) for each in found] == [
        (FAILED_DELIVERY, "restart", "all"),
        (QUEUED_DELIVERY, "cancel", "missing"),
        (FAILED_DELIVERY, "restart", "missing"),
        (FAILED_DELIVERY, "restart", "missing"),
    ]


async def test_lists_are_read_page_by_page_without_gaps_or_repeats(api: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()
    for path, key in (
        ("series", "series_uid"),
        ("deliveries", "delivery_id"),
        (f"series/{SERIES}/instances", "reception_id"),
    ):
        seen, cursor = [], None
        while True:
            answer = await api.get(f"/api/v1/{path}", params={"limit": 1, **({"cursor": cursor} if cursor else {})})
            seen += [item[key] for item in answer.json()["items"]]
            cursor = answer.json()["next"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 3
    for wrong in ("x", "WzEsMl0", "bnVsbA"):
        assert (await api.get("/api/v1/series", params={"cursor": wrong})).status_code == 400
    assert (await api.get("/api/v1/series", params={"limit": 100000})).status_code == 400
    assert (await api.get("/api/v1/series", params={"limit": "many"})).status_code == 400


async def test_series_are_found_by_qualifiers_and_words(api: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()

    async def count(q: str) -> int:
        return len((await api.get("/api/v1/series", params={"q": q})).json()["items"])

    found = [
        ("", 3),
        ("status:failed", 1),
        ("status:failed,unmatched", 2),
        ("modality:mr source:MR01", 3),
        ("brain", 3),
    ]
    found += [('patient:"DOE^JANE"', 3), ("patient:4711", 3), ("accession:A-2001 t1_mprage", 3), ("modality:CT", 0)]
    found += [("bra", 3), ("rain", 0), ("BRAIN MPRAGE", 3), ("t1_mprage/failed", 1), ("山田", 3), ("3t", 3), ("1.5", 0)]
    found += [("patient:jane", 3), ("patient:brain", 0), ("study:mprage", 0), ("study:mr", 3), ('"jane:*|brain"', 3)]
    found += [("%", 0), ("_", 0), ("'; drop table ledger.series --", 0), (SERIES, 1), ("study:contrast", 3)]
    for q, expected in found:
        assert await count(q) == expected, q
    wrong = await api.get("/api/v1/series", params={"q": "colour:red"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "q")


async def test_everything_about_a_series_is_in_one_answer(api: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()
    detail = (await api.get(f"/api/v1/series/{SERIES}")).json()
    assert detail["decisions"][0]["rules"][0]["clauses"][0]["seen"] == ["MR"]
    assert detail["deliveries"][0]["state"] == "succeeded"
    times = [entry["at"] for entry in (await api.get(f"/api/v1/series/{SERIES}/timeline")).json()["items"]]
    assert times == sorted(times)
    assert len(times) == 4
    delivery = (await api.get(f"/api/v1/deliveries/{FAILED_DELIVERY}")).json()
    assert (delivery["unsent"], delivery["outcomes"][0]["status"]) == (2, 0xA700)


async def test_the_status_says_in_one_sentence_what_is_wrong(api: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()
    status = (await api.get("/api/v1/status")).json()
    assert not status["fine"]
    assert "1 failed delivery waits" in status["headline"]
    assert {queue["target"]: queue["counts"] for queue in status["queues"]} == {
        "archive": {"queued": 1},
        "pacs": {"failed": 1},
    }
    for path in ("audit", "quarantine", "alerts"):
        assert len((await api.get(f"/api/v1/{path}")).json()["items"]) == 1


async def test_the_ticked_series_are_acted_on_and_those_that_are_gone_passed_over(admin, bus: Bus, make_ledger) -> None:
    make_ledger()
    form = {"ids": [SERIES, "1.2.3", "no-uid"], "action": "reevaluate", "reason": "new rules", "q": "modality:MR"}
    answer = await admin.post("/series/_bulk", form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/series?q=modality%3AMR&done=asked")
    (found,) = await commands(bus, subjects.SERIES_COMMANDS)
    assert (found["series_uid"], found["action"], found["actor"], found["reason"]) == (
        *(SERIES, "reevaluate"),
        *("admin", "new rules"),
    )
    nothing = await admin.post("/series/_bulk", {"action": "route", "ids": [SERIES]})
    assert "choose at least one target" in nothing.text


async def test_a_search_that_cannot_be_read_says_what_to_use_instead(viewer, make_ledger) -> None:
    make_ledger()
    page = (await viewer.get("/series?q=foo:bar")).text
    assert "This search cannot be read." in page
    assert "there is no qualifier foo:; use modality:" in page
    assert "Not saved" not in page


async def test_the_failures_of_one_cause_are_retried_and_no_others(admin, bus: Bus, make_ledger) -> None:
    make_ledger()
    page = await admin.get("/errors")
    assert "status-a700" in page.text
    assert "Make space at the target" in page.text
    other = await admin.post("/errors/retry", {"target": "pacs", "code": "silent"})
    assert other.headers["location"] == "/errors?done=unchanged"
    answer = await admin.post("/errors/retry", {"target": "pacs", "code": "status-a700"})
    assert answer.headers["location"].startswith("/errors/progress?id=")
    (found,) = await commands(bus, subjects.DELIVERY_COMMANDS)
    assert f"id={found['bulk']}&target=pacs&since=" in answer.headers["location"]
    assert (found["delivery_id"], found["action"], found["scope"]) == (FAILED_DELIVERY, "restart", "missing")
    progress = await admin.get(answer.headers["location"])
    assert "1 not taken up yet" in progress.text


async def test_what_is_tried_again_is_not_silently_left_out_of_the_errors(viewer, web: Web, make_ledger) -> None:
    make_ledger()
    assert "Trying again" not in (await viewer.get("/errors")).text, "what was never tried only waits for its turn"
    words = "UPDATE ledger.deliveries SET state = :state, attempt = 1, reason = :why, next_attempt_at = :at"
    retry = text(f"{words} WHERE delivery_id = :id")
    at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    down = {"state": "queued", "why": "the target is down: cannot reach <archive>", "at": None, "id": QUEUED_DELIVERY}
    await web.database.run(lambda connection: connection.execute(retry, down))
    page = (await viewer.get("/errors")).text
    assert "Trying again: 1" in page
    assert "cannot reach &lt;archive&gt;" in page
    assert "when the target answers" in page
    assert 'href="/deliveries?target=archive&amp;state=queued"' in page
    assert "status-a700" in page, "and what was given up is there as before"
    later = {"state": "retrying", "why": "0xA700 out of resources", "at": at, "id": FAILED_DELIVERY}
    await web.database.run(lambda connection: connection.execute(retry, later))
    page = (await viewer.get("/errors")).text
    assert "Trying again: 2" in page
    assert "2031-05-06 07:08:09" in page
    assert "Nothing was given up" in page
    assert "Trying again: 1" in (await viewer.get("/errors?target=pacs")).text


async def test_a_target_is_up_only_where_the_last_delivery_since_the_start_shows_it(
    api: httpx.AsyncClient, viewer, web: Web, make_ledger
) -> None:
    make_ledger()
    targets = [PACS, {**PACS, "slug": "never", "name": "Never"}]
    await api.put("/api/v1/targets", json={"targets": targets}, headers={"if-match": '"0"'})

    async def change(statement: str, **values: object) -> None:
        await web.database.run(lambda connection: connection.execute(text(statement), values))

    async def standing() -> list[tuple[str, str]]:
        found = (await api.get("/api/v1/targets/states")).json()["items"]
        return [(item["state"], item["standing"]) for item in found]

    changed = "UPDATE ledger.deliveries SET updated_at = now() + :late * interval '1 s' WHERE delivery_id = :id"
    await change(changed, id=FAILED_DELIVERY, late=-60)
    assert await standing() == [("up", "failing"), ("up", "never_tried")]
    page = (await viewer.get("/targets")).text
    assert "last delivery failed" in page
    assert "never tried" in page
    await change(
        "INSERT INTO ledger.services (instance, service, state, started_at, last_seq)"
        " VALUES ('dispatcher@n.1', 'dispatcher', 'started', now() - interval '5 s', 9)"
    )
    assert await standing() == [("up", "not_tried"), ("up", "never_tried")]
    for path in ("/targets", "/targets/pacs", "/"):
        assert "not tried since start" in (await viewer.get(path)).text, path
    assert "last failed" in (await viewer.get("/targets")).text
    await change(changed, id="0e7a7c5e-5f1b-5d0e-9a65-000000000001", late=-1)
    assert await standing() == [("up", "up"), ("up", "never_tried")]
    await change("ALTER TABLE ledger.deliveries RENAME TO away")
    assert await standing() == [("up", "unknown"), ("up", "unknown")], "nobody knows: it does not say up"


async def test_the_first_sentence_names_targets_that_are_down(api: httpx.AsyncClient, web: Web, make_ledger) -> None:
    make_ledger()
    values = {"about": "archive", "kind": "target_down"}
    down = text("UPDATE ledger.alerts SET about = :about, kind = :kind")
    await web.database.run(lambda connection: connection.execute(down, values))
    status = (await api.get("/api/v1/status")).json()
    assert [item["text"] for item in status["problems"] if item["link"] == "/targets/archive"] == [
        "archive is down for 3 min, 1 waiting"
    ]
    assert not [item for item in status["problems"] if "critical alert" in item["text"]], "that was the alert"


async def test_what_is_left_of_a_retry_is_held_by_its_undo(admin, viewer, web: Web, bus: Bus, make_ledger) -> None:
    make_ledger()
    since = "2020-01-01T00:00:00+00:00"
    mine = text("UPDATE ledger.deliveries SET bulk = :bulk, target = 'pacs' WHERE delivery_id = :id")
    await web.database.run(lambda connection: connection.execute(mine, {"id": QUEUED_DELIVERY, "bulk": BULK_ID}))
    retry = {"id": BULK_ID, "target": "pacs", "since": since, "asked": "2", "actor": "admin"}
    address = f"/errors/progress?{urlencode(retry)}"
    assert "Undo: hold the 1 under way" in (await admin.get(address)).text
    assert (await viewer.post("/errors/undo", retry)).status_code == 403
    answer = await admin.post("/errors/undo", {**retry, "reason": "the wrong target"})
    assert answer.headers["location"] == f"{address}&done=undone"
    (found,) = await commands(bus, subjects.DELIVERY_COMMANDS)
    assert (found["delivery_id"], found["action"]) == (QUEUED_DELIVERY, "hold")
    assert "the wrong target" in str(found["reason"])
    held = text("UPDATE ledger.deliveries SET state = 'held', actor = 'olga' WHERE delivery_id = :id")
    await web.database.run(lambda connection: connection.execute(held, {"id": QUEUED_DELIVERY}))
    assert "release, cancel or reroute the 1 held" in (await admin.get(address)).text
    assert (await admin.post("/errors/undo", retry)).headers["location"].endswith("done=unchanged")
    assert (await admin.post("/errors/undo", {**retry, "since": "yesterday"})).status_code == 400
    for wrong in ("", "x", "../../etc"):
        assert (await admin.get(f"/errors/progress?{urlencode({**retry, 'id': wrong})}")).status_code == 400


async def test_two_retries_at_the_same_time_to_the_same_target_are_undone_one_by_one(
    admin, web: Web, bus: Bus, make_ledger
) -> None:
    make_ledger()
    other = "0195d3a0-0000-7000-8000-0000000000ff"
    change = "UPDATE ledger.deliveries SET actor = 'admin', target = 'pacs', bulk = :bulk, state = 'queued'"
    one = text(f"{change} WHERE delivery_id = :id")
    for values in ({"bulk": other, "id": FAILED_DELIVERY}, {"bulk": BULK_ID, "id": QUEUED_DELIVERY}):
        await web.database.run(lambda connection, values=values: connection.execute(one, values))
    retry = {"id": BULK_ID, "target": "pacs", "since": "2020-01-01T00:00:00+00:00", "asked": "1", "actor": "admin"}
    assert (await admin.post("/errors/undo", retry)).headers["location"].endswith("done=undone")
    assert [found["delivery_id"] for found in await commands(bus, subjects.DELIVERY_COMMANDS)] == [QUEUED_DELIVERY]
    page = (await admin.get(f"/errors/progress?{urlencode({**retry, 'id': other})}")).text
    assert "Undo: hold the 1 under way" in page


async def test_the_list_can_be_had_as_csv(viewer, make_ledger) -> None:
    make_ledger()
    answer = await viewer.get("/series/_export?q=status:failed")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert len(answer.text.splitlines()) == 2
    assert "DOE^JANE" in answer.text
    view = {"cookie": f"__Host-hermes={viewer.cookie}; hermes-view=dark.utc.masked"}
    masked = await viewer.get("/series/_export", headers=view)
    assert "DOE" not in masked.text
    refused = await viewer.get("/series/_export?columns=PatientBirthDate,OperatorsName,modality", headers=view)
    assert refused.status_code == 422
    assert "OperatorsName says who somebody is" in refused.text
    assert "modality says" not in refused.text


async def test_chosen_columns_and_attributes_of_every_series_are_exported_and_audited(
    api, make_ledger, database_url, monkeypatch
) -> None:
    monkeypatch.setattr("hermes_web.features.series.export.PAGE", 2)
    make_ledger()
    asked = {"q": "brain", "columns": "series_uid, instances,SliceThickness,ImageType,StationName"}
    answer = await api.get("/api/v1/series/export", params=asked)
    lines = answer.text.split("\r\n")
    assert lines[0] == "series_uid,instances,SliceThickness,ImageType,StationName"
    assert len(lines) == 3 + 2
    assert lines[3].endswith(",1.5,ORIGINAL\\PRIMARY,山田^3T")
    parquet = await api.get("/api/v1/series/export", params={**asked, "format": "parquet"})
    table = pyarrow.parquet.read_table(io.BytesIO(parquet.content))
    assert table.column_names == lines[0].split(",")
    assert table.num_rows == 3
    assert table.column("ImageType").to_pylist() == [["ORIGINAL", "PRIMARY"]] * 3
    assert str(table.schema.field("instances").type) == "int64"
    none = await api.get("/api/v1/series/export", params={**asked, "q": "nowhere", "format": "parquet"})
    assert pyarrow.parquet.read_table(io.BytesIO(none.content)).num_rows == 0
    wrong = await api.get("/api/v1/series/export", params={"columns": "SliceThicknes"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "columns"
    engine = create_engine(database_url)
    with engine.connect() as connection:
        said = connection.execute(text("SELECT body FROM accounts.outbox WHERE type = 'hermes.v1.export.made'")).all()
    engine.dispose()
    assert [(row.body["query"], row.body["format"]) for row in said] == [
        ("brain", "csv"),
        ("brain", "parquet"),
        ("nowhere", "parquet"),
    ]


async def test_no_cell_of_an_export_is_taken_for_a_formula(api, make_ledger, database_url) -> None:
    for words in ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", 'a"b\r\n=c'):
        make_ledger(words)
        answer = await api.get("/api/v1/series/export", params={"columns": "study_description,StudyDescription"})
        rows = list(csv.reader(io.StringIO(answer.text, newline="")))[1:]
        for cell in (cell for row in rows for cell in row):
            assert cell == (words if words[0] == "a" else f"'{words}")
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA ledger CASCADE"))
        engine.dispose()


async def test_a_list_of_a_span_holds_what_its_number_counts(viewer, make_ledger) -> None:
    make_ledger()
    for path, count in (
        ("/deliveries?within=1h", 3),
        ("/deliveries?within=1s", 0),
        ("/quarantine?within=1h", 1),
        ("/quarantine?within=1s", 0),
        ("/series?q=received:1h", 3),
        ("/series?q=received:1s", 0),
    ):
        page = (await viewer.get(path)).text
        assert page.count("<tr>") - (1 if count else 0) == count, path
    assert (await viewer.get("/deliveries?within=soon")).status_code == 400


async def test_on_the_tables_of_the_release_before_pages_of_deliveries_and_series_are_there(
    viewer, make_ledger, database_url
) -> None:
    make_ledger()
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE ledger.deliveries DROP COLUMN bulk"))
        [(delivery, series)] = connection.execute(text("SELECT delivery_id, series_uid FROM ledger.deliveries LIMIT 1"))
    engine.dispose()
    for path in ("/", "/deliveries", f"/deliveries/{delivery}", f"/series/{series}", "/errors", "/targets"):
        assert (await viewer.get(path)).status_code == 200, path


async def test_the_audit_is_of_whom_and_of_what_was_asked(viewer, make_ledger) -> None:
    make_ledger()
    for path, count in (("/audit?actor=admin&about=user", 1), ("/audit?actor=vera", 0), ("/audit?about=config", 0)):
        assert (await viewer.get(path)).text.count('data-label="Who"') == count, path
    assert (await viewer.get("/audit?about=nonsense")).status_code == 400


async def test_the_audit_is_exported_with_the_filters_and_the_mask_of_its_page_and_that_is_audited(
    api: httpx.AsyncClient, viewer, browser, web: Web, database_url, make_ledger, monkeypatch
) -> None:
    monkeypatch.setattr("hermes_web.features.audit.export.PAGE", 1)
    make_ledger()
    row = (
        "INSERT INTO ledger.audit (event_id, time, actor, action, about, address, detail)"
        " VALUES (:id, now(), :actor, 'series.route', :about, '192.0.2.1', CAST(:detail AS jsonb))"
    )
    rows = [
        {"id": "e2", "actor": "=HYPERLINK(1)", "about": "+1", "detail": '{"patient_name": "DOE^JANE"}'},
        {"id": "e3", "actor": "ann", "about": 'a"b, c', "detail": "{}"},
    ]
    await web.database.run(lambda connection: connection.execute(text(row), rows))
    assert (
        'href="/audit/_export?actor=ann&amp;about=series"' in (await viewer.get("/audit?actor=ann&about=series")).text
    )

    def read(answer: httpx.Response) -> dict[str, dict[str, str]]:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].startswith('attachment; filename="audit-')
        return {line["event_id"]: line for line in csv.DictReader(io.StringIO(answer.text, newline=""))}

    found = read(await api.get("/api/v1/audit/export"))
    assert set(found) == {"e1", "e2", "e3"}
    assert (found["e2"]["actor"], found["e2"]["about"]) == ("'=HYPERLINK(1)", "'+1"), "no formula for a spreadsheet"
    assert json.loads(found["e2"]["detail"]) == {"patient_name": "DOE^JANE"}
    assert found["e3"]["about"] == 'a"b, c'
    assert set(read(await api.get("/api/v1/audit/export", params={"about": "series", "actor": "ann"}))) == {"e3"}
    assert [item["event_id"] for item in (await api.get("/api/v1/audit?about=user")).json()["items"]] == ["e1"]
    assert (await api.get("/api/v1/audit/export", params={"about": "nonsense"})).status_code == 400
    assert (await viewer.get("/audit/_export?about=nonsense")).status_code == 400
    view = {"cookie": f"__Host-hermes={viewer.cookie}; hermes-view=dark.utc.masked"}
    for answer in (await viewer.get("/audit", headers=view), await viewer.get("/audit/_export", headers=view)):
        assert "DOE" not in answer.text
    assert set(read(await viewer.get("/audit/_export?about=series"))) == {"e2", "e3"}
    assert (await browser().get("/audit/_export")).status_code == 303  # to the form for signing in
    engine = create_engine(database_url)
    with engine.connect() as connection:
        said = connection.execute(text("SELECT body FROM accounts.outbox WHERE type = 'hermes.v1.export.made'")).all()
    engine.dispose()
    assert [(each.body["actor"], each.body["query"], each.body["masked"]) for each in said] == [
        ("token automation", "audit", False),
        ("token automation", "audit actor:ann about:series", False),
        ("vera", "audit", True),
        ("vera", "audit about:series", False),
    ]


async def test_every_kind_of_thing_that_people_act_on_can_be_chosen_in_the_audit(viewer, make_ledger) -> None:
    make_ledger()
    page = (await viewer.get("/audit")).text
    for event in (InstanceDownloaded, InstanceResubmitted, ExportMade, StudyCompleted, DeliveryHeld, UserChanged):
        kind = event.type().removeprefix("hermes.v1.").partition(".")[0]
        assert f'<option value="{kind}"' in page, event
        assert (await viewer.get(f"/audit?about={kind}")).status_code == 200


async def test_a_view_is_ones_own_is_escaped_and_can_be_removed(admin, viewer, make_ledger) -> None:
    make_ledger()
    name = "<b>CT of today</b>"
    answer = await viewer.post("/series/_views", {"q": "modality:CT received:24h", "name": name})
    assert answer.headers["location"] == "/series?q=modality%3ACT+received%3A24h&done=saved-view"
    page = (await viewer.get("/series")).text
    assert "&lt;b&gt;CT of today&lt;/b&gt;" in page
    assert name not in page
    assert 'href="/series?q=modality%3ACT%20received%3A24h"' in page
    assert "CT of today" not in (await admin.get("/series")).text, "it is nobody else's"
    assert (await admin.post("/series/_views", {"action": "remove", "name": name})).status_code == 404
    await viewer.post("/series/_views", {"action": "remove", "name": name})
    assert "CT of today" not in (await viewer.get("/series")).text
    refused = await viewer.post("/series/_views", {"q": "nonsense:1", "name": "x"})
    assert "This search cannot be read" in refused.text
    for number in range(30):
        assert (await viewer.post("/series/_views", {"q": "brain", "name": f"v{number}"})).status_code == 303
    assert "remove one first" in (await viewer.post("/series/_views", {"q": "brain", "name": "one more"})).text
