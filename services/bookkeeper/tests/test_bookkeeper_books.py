"""The books on a real PostgreSQL: the same tables in whatever order and however often the events come."""

import json
import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.adapters.migrate import migrate
from hermes_bookkeeper.core.facts import read
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_common import ledger
from hermes_common.events import (
    AlertCleared,
    AlertRaised,
    ConfigChanged,
    DeliveryHeld,
    DeliveryReleased,
    DeliveryRestarted,
    DeliveryStarted,
    DeliverySucceeded,
    DeliveryWaiting,
    MppsCreated,
    MppsSet,
    PerformedSeries,
    Sender,
    StoreCleaned,
    StorePressed,
    StoreRelieved,
    StoreSwept,
    TargetDown,
    TargetUp,
)
from hermes_common.runtime.consumer import Message

pytestmark = pytest.mark.servers


def facts(messages):
    return [read(message.subject, message.headers, message.data, message.sequence) for message in messages]


def test_the_migrations_make_the_tables_of_the_models(ledger_url):
    engine = create_engine(ledger_url.get_secret_value())
    options = {
        "include_schemas": True,
        "compare_type": True,
        "compare_server_default": True,
        "version_table_schema": ledger.SCHEMA,
        "include_name": lambda name, kind, _: kind != "schema" or name == ledger.SCHEMA,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, ledger.metadata)
    engine.dispose()
    assert differences == []


def test_migrating_again_changes_nothing_and_a_newer_schema_is_left_alone(ledger_url, query):
    migrate(ledger_url)
    query("UPDATE ledger.alembic_version SET version_num = 'r9999'")
    migrate(ledger_url)
    assert query("SELECT version_num FROM ledger.alembic_version") == [("r9999",)]


def test_a_migration_that_waits_for_a_reader_keeps_nobody_waiting_for_long(ledger_url, query):
    query("ALTER TABLE ledger.deliveries DROP COLUMN bulk")
    query("UPDATE ledger.alembic_version SET version_num = 'r0009'")
    reader = psycopg2.connect(ledger_url.get_secret_value().replace("+psycopg2", ""))
    try:
        with reader.cursor() as cursor:
            cursor.execute("SELECT FROM ledger.deliveries")  # as pg_dump does, for hours
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            migrate(ledger_url)
        assert time.monotonic() - begun < 5
    finally:
        reader.close()
    migrate(ledger_url)
    assert query("SELECT count(bulk) FROM ledger.deliveries") == [(0,)]


async def test_any_order_and_any_repetition_makes_the_same_tables(books, query, stream, contents):
    stream.life()
    await books.record(facts(stream.messages))
    expected = contents()
    told = expected.pop("alert_messages")
    assert not told, "the books tell nobody"
    assert all(expected.values()), "the life touches every table"
    for seed in range(12):
        query("TRUNCATE " + ", ".join(f"ledger.{table.name}" for table in ledger.metadata.sorted_tables))
        for batch in stream.shuffled(seed):
            await books.record(facts(batch))
        found = contents()
        for name, rows in expected.items():
            assert found[name] == rows, f"{name} differs with seed {seed}"


async def test_a_delivery_belongs_to_the_bulk_action_that_restarted_it_last(books, query, stream):
    stream.queued("1.1", 1, "pacs", 1)

    def bulk():
        return query("SELECT bulk, state FROM ledger.deliveries")

    said = {"actor": "ann"}
    for model, more, expected in (
        (DeliveryRestarted, {"bulk": "b1"}, ("b1", "queued")),
        (DeliveryStarted, {"attempt": 1, "missing": 1, "dispatcher": "d1"}, ("b1", "sending")),
        (DeliveryHeld, {}, ("b1", "held")),
        (DeliveryReleased, {}, ("b1", "queued")),
        (DeliveryRestarted, {"bulk": "b2"}, ("b2", "queued")),
        (DeliveryRestarted, {}, ("", "queued")),
    ):
        stream.delivery(model, "1.1", 1, "pacs", **({} if model is DeliveryStarted else said), **more)
        await books.record(facts(stream.messages))
        assert bulk() == [expected]


async def test_the_life_of_a_series_reads_as_it_was(books, query, stream):
    stream.life()
    for message in stream.messages:
        await books.record(facts([message]))
    columns = "state, instances, octets, duplicates, conflicts, batches, patient_name, problems, rules_revision"
    rows = query(f"SELECT series_uid, {columns} FROM ledger.series ORDER BY series_uid")  # noqa: S608  # our columns
    assert rows == [
        ("1.1", "delivered", 7, 7028 + 1002, 1, 1, 2, "Doe^1", ["rule x failed"], 7),
        ("1.2", "routed", 6, 6021, 0, 0, 1, "Doe^1", [], 7),
        ("1.3", "deleted", 1, 1001, 0, 0, 1, "Doe^1", [], 7),
        ("1.4", "receiving", 1, 1001, 0, 0, 0, "", [], None),
        ("1.5", "routed", 1, 1001, 0, 0, 1, "Doe^1", [], 7),
    ]
    assert query("SELECT tags -> 'PatientName', modality FROM ledger.series WHERE series_uid = '1.1'") == [
        (["Doe^1", "Doe^2", "Roe"][::2], "CT")
    ]
    deliveries = query("SELECT delivery_id, state, delivered, attempt, actor FROM ledger.deliveries ORDER BY 1")
    assert deliveries == [
        ("d-1.1-1-ai", "dismissed", 1, 3, "ann"),
        ("d-1.1-1-pacs", "succeeded", 6, 1, ""),
        ("d-1.1-2-pacs", "succeeded", 1, 1, ""),
        ("d-1.2-1-pacs", "sending", 0, 1, ""),
    ]
    asked = "SELECT commitment, commitment_uid, committed FROM ledger.deliveries WHERE delivery_id = 'd-1.1-1-pacs'"
    assert query(asked) == [("committed", "2.25.2", 6)]
    attempts = query(
        "SELECT attempt, result, dispatcher FROM ledger.attempts WHERE delivery_id = 'd-1.1-1-ai' ORDER BY 1"
    )
    assert attempts == [(1, "retrying", "d1"), (2, "failed", "d2"), (3, "failed", "d2")]
    outcomes = query(
        "SELECT result, attempt FROM ledger.instance_deliveries WHERE delivery_id = 'd-1.1-1-ai' ORDER BY index"
    )
    assert outcomes == [("delivered", 1)] + [("failed", 2)] * 5
    sent = query(
        "SELECT delivery_id, sent_sop_instance_uid, sent_transfer_syntax_uid, sent_digest"
        " FROM ledger.instance_deliveries WHERE delivery_id LIKE 'd-1.1-1-%' AND index = 0 ORDER BY 1"
    )
    assert sent == [
        ("d-1.1-1-ai", "2.25.1.1.1", "1.2.840.10008.1.2.5", "d" * 64),
        ("d-1.1-1-pacs", "", "", ""),
    ]
    audit = query("SELECT actor, action, about FROM ledger.audit ORDER BY number")
    assert audit == [
        ("ann", "delivery.restarted", "d-1.1-1-ai"),
        ("ann", "delivery.dismissed", "d-1.1-1-ai"),
        ("ann", "series.routed", "1.2"),
        ("ann", "config.changed", "rules"),
        ("ann", "user.logged_in", "ann"),
    ]
    assert query("SELECT state, instances FROM ledger.associations") == [("closed", 14)]
    secured = query("SELECT tls, certificate, identity, implementation FROM ledger.associations")
    assert secured == [("TLSv1.3 X", "CN=ct", "ann", "CT_1 1.2.3")]
    assert query("SELECT state, reason FROM ledger.services") == [("crashed", "killed")]
    assert query("SELECT cleared_at IS NULL, reason FROM ledger.alerts") == [(False, "up")]
    assert query("SELECT count(*) FROM ledger.instances WHERE duplicate") == [(1,)]


async def test_a_result_of_storage_commitment_before_anything_else_of_its_delivery_makes_no_delivery(
    books, query, stream
):
    stream.queued("1.1", 1, "pacs", 2)
    stream.committed("1.1", 1, "pacs", 2)
    result = stream.messages.pop(2)
    await books.record(facts([result]))
    assert query("SELECT count(*) FROM ledger.deliveries") == [(0,)]
    await books.record(facts(stream.messages))
    assert query("SELECT state, commitment, committed FROM ledger.deliveries") == [("queued", "committed", 2)]


async def test_a_series_that_grows_while_it_is_delivered_is_counted_right(books, query, stream):
    for round_ in range(20):
        messages = [stream.stored("1.1", number) for number in range(round_ * 5, round_ * 5 + 8)]
        await books.record(facts(messages))
    counts = query("SELECT instances, duplicates, octets FROM ledger.series")
    derived = query(
        "SELECT count(DISTINCT sop_instance_uid), count(*) FILTER (WHERE duplicate),"
        " sum(octets) FILTER (WHERE NOT duplicate) FROM ledger.instances"
    )
    assert counts == [tuple(map(int, derived[0]))]
    assert counts[0][:2] == (103, 57)


async def test_late_instances_make_a_delivered_series_receive_again(books, query, stream):
    def state():
        return query("SELECT state FROM ledger.series")[0][0]

    seen = []
    steps = [
        lambda: stream.stored("1.1", 1),
        lambda: stream.completed("1.1", 1, 1),
        lambda: stream.decided("1.1", 1, "routed", ["pacs"]),
        lambda: stream.delivery(DeliverySucceeded, "1.1", 1, "pacs", attempt=1, instances=1),
        lambda: stream.stored("1.1", 1),
        lambda: stream.stored("1.1", 2),
        lambda: stream.completed("1.1", 2, 1),
        lambda: stream.decided("1.1", 2, "unmatched"),
        lambda: stream.decided("1.1", 2, "routed", ["pacs"], kind="manual", actor="ann"),
        lambda: stream.delivery(DeliverySucceeded, "1.1", 2, "pacs", attempt=1, instances=1),
        lambda: stream.delivery(DeliveryRestarted, "1.1", 1, "pacs", actor="ann", scope="all"),
    ]
    for step in steps:
        await books.record(facts([step()]))
        seen.append(state())
    assert seen == [
        *("receiving", "completed", "routed", "delivered", "delivered", "receiving"),
        *("completed", "unmatched", "routed", "delivered", "routed"),
    ]
    assert query("SELECT ended_at FROM ledger.series") == [(None,)]


async def test_an_event_of_an_unknown_type_is_kept_whole(books, query):
    headers = {"ce-id": "x1", "ce-type": "hermes.v1.robot.danced", "ce-source": "s", "ce-time": "2026-01-01T00:00:00Z"}
    bodies = [b'{"series_uid": "1.1", "steps": [1]}', b"\xff\x00 not JSON", b'{"n": NaN}']
    messages = [Message("hermes.v1.robot.danced", {**headers, "ce-id": f"x{n}"}, b, n, 1) for n, b in enumerate(bodies)]
    await books.record(facts(messages))
    rows = query("SELECT series_uid, data FROM ledger.events ORDER BY seq")
    assert rows[0] == ("1.1", {"series_uid": "1.1", "steps": [1]})
    assert all(list(data) == ["base64"] for _, data in rows[1:])


async def test_nul_and_lone_surrogates_become_replacement_characters(books, query, stream):
    stored = stream.stored("1.1", 1, tags={"PatientName": ["Do\x00e"], "A\x00": []}, warnings=["\x00"])
    unknown = json.dumps({"text": "a\ud800b\x00"}).encode()
    headers = {**stored.headers, "ce-id": "x1", "ce-type": "hermes.v1.robot.danced"}
    await books.record(facts([stored, Message("hermes.v1.robot.danced", headers, unknown, 9, 1)]))
    assert query("SELECT patient_name FROM ledger.series") == [("Do\ufffde",)]
    assert query("SELECT warnings FROM ledger.instances") == [(["\ufffd"],)]
    assert query("SELECT data FROM ledger.events WHERE id = 'x1'") == [({"text": "a\ufffdb\ufffd"},)]


async def test_many_rows_at_once_are_taken_down_as_each_by_itself(books, contents, query, stream):
    odd = "tab\t line\n return\r back\\slash \\N \\. quote' \" nul\x00 ä山"
    for number in range(60):
        stream.stored("1.1", number, warnings=[odd], digest=odd[number % 9 :], tags={"PatientName": [odd]})
    for message in facts(stream.messages):
        await books.record([message])
    before = contents()
    assert query("SELECT count(*) FROM ledger.instances WHERE warnings ->> 0 LIKE '%%back_slash%%'") == [(60,)]
    for table in ("events", "instances", "series"):
        query(f"TRUNCATE ledger.{table}")
    await books.record(facts(stream.messages))
    assert contents() == before


async def test_values_that_the_database_refuses_are_told_from_a_database_that_is_away(books, stream):
    with pytest.raises(RefusedError):
        await books.record(facts([stream.stored("1.1", 1, octets=2**70)]))
    with pytest.raises(RefusedError):
        await books.record(facts([stream.stored("1.1", 1, association_id="x" * 1_000_000 + "y" * 10)]))
    await books.record(facts([stream.stored("1.1", 2)]))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.series (series_uid, patient_name) VALUES ('1', 'UNSEEN^NAME')",
        "INSERT INTO ledger.series (patient_name, no_such_column) VALUES ('UNSEEN^NAME', 1)",
    ],
)
async def test_what_the_database_refuses_is_told_without_the_values_of_the_row(ledger_url, statement):
    database = Database(ledger_url, "test")
    with pytest.raises((RefusedError, DatabaseUnavailableError)) as refused:
        await database.run(lambda cursor: cursor.execute(statement))
    await database.close()
    assert "column" in str(refused.value)
    assert "UNSEEN" not in str(refused.value)
    assert "UNSEEN" not in str(database.problem())


async def test_a_failed_delivery_raises_one_alert_for_each_failure_and_clears_it(books, stream):
    stream.life()
    says = await books.record(facts(stream.messages))
    said = [(type(say.event).__name__, say.event.kind, say.event.about) for say in says]
    failed = ("delivery_failed", "ai/d-1.1-1-ai")
    held = ("study_held", "1.5.99")
    assert [each for each in said if each[1] == "study_held"] == [("AlertRaised", *held), ("AlertCleared", *held)]
    assert [each for each in said if each[1] != "study_held"] == [
        ("AlertRaised", "service_crashed", "receiver"),
        ("AlertRaised", "message_parked", "router/4"),
        *(("AlertRaised", *failed), ("AlertCleared", *failed)) * 2,
    ]
    assert await books.record(facts(stream.messages)) == says, "said again under the same ids"
    assert len({say.event.alert_id for say in says if isinstance(say.event, AlertRaised)}) == 5


FAILED_RULE = {"slug": "thin", "name": "Thin", "state": "active", "status": "failed", "reason": "it is no rule"}


async def test_a_rule_that_fails_raises_one_alert_for_a_revision_which_the_next_revision_clears(books, stream, query):
    for series in ("1.1", "1.2"):
        stream.decided(series, 1, "unmatched", rules=[FAILED_RULE, {**FAILED_RULE, "slug": "dry", "state": "dry_run"}])
    stream.decided("1.3", 1, "routed", ["pacs"], rules=[FAILED_RULE], revision=6)
    says = await books.record(facts(stream.messages))
    raised = {say.event.about: say for say in says}
    assert sorted(raised) == ["thin/6", "thin/7"]
    assert "kept as unmatched" in raised["thin/7"].event.message
    assert "1.1" in raised["thin/7"].event.message
    again = facts([stream.decided("1.5", 1, "unmatched", rules=[FAILED_RULE])])
    assert [say.id for say in await books.record(again)] == [raised["thin/7"].id], "nobody knows that it was said"
    late = [stream.say(raised["thin/7"].event, raised["thin/7"].id)]
    assert await books.record(facts(late)) == []
    assert await books.record(again) == [], "it is in the tables"
    changed = [stream.say(ConfigChanged(kind="rules", revision=8, author="ann", after={"rules": []}))]
    [cleared] = await books.record(facts(changed))
    assert (type(cleared.event), cleared.event.about) == (AlertCleared, "thin/7")
    late = [stream.say(raised["thin/6"].event, raised["thin/6"].id)]
    by_about = {say.event.about: say for say in await books.record(facts(late))}
    assert by_about["thin/7"] == cleared, "said again while nobody knows that it was said"
    cleared_late = by_about["thin/6"]
    both = [stream.say(say.event, say.id) for say in (cleared, cleared_late)]
    assert await books.record(facts(both)) == []
    assert query("SELECT count(*) FROM ledger.alerts WHERE cleared_at IS NULL") == [(0,)]
    problem = await books.record(facts([stream.decided("1.4", 1, "unmatched", rules=[FAILED_RULE], revision=8)]))
    assert [say.event.about for say in problem] == ["thin/8"]


async def test_a_rule_that_asks_for_it_raises_an_alert_for_each_series_that_it_matches(books, stream):
    rule = {"slug": "xa", "name": "XA", "state": "active", "status": "fired", "notifications": ["matched"]}
    quiet = {**rule, "slug": "quiet", "notifications": []}
    missed = {**rule, "slug": "missed", "status": "not_matched"}
    dry = {**rule, "slug": "dry", "status": "would_fire", "state": "dry_run"}
    rules = [{**rule, "contact": "the angiography team"}, quiet, missed, dry]
    for series in ("1.1", "1.2"):
        stream.decided(series, 1, "routed", ["pacs"], rules=rules)
    stream.decided("1.2", 2, "routed", ["pacs"], rules=rules, kind="late")
    says = await books.record(facts(stream.messages))
    assert [say.event.about for say in says] == ["xa/1.1", "xa/1.2"]
    assert says[0].event.message == "Rule xa matched series 1.1, which is routed. Contact: the angiography team"
    assert await books.record(facts(stream.messages)) == says


async def test_an_outage_of_a_target_raises_one_alert_and_its_end_clears_that_one(books, stream):
    stream.say(TargetDown(target="pacs", outage="o-1", reason="connection refused"))
    stream.say(TargetUp(target="pacs", outage="o-1", down_since=datetime(2026, 1, 1, tzinfo=UTC)))
    stream.say(TargetDown(target="pacs", outage="o-2", reason="again"))
    first = await books.record(facts(stream.messages))
    again = await books.record(facts(stream.messages))
    assert [say.id for say in again] == [say.id for say in first]
    raised, cleared, second = (say.event for say in first)
    assert isinstance(raised, AlertRaised)
    assert isinstance(cleared, AlertCleared)
    assert (raised.kind, raised.about, raised.severity) == ("target_down", "pacs", "critical")
    assert cleared.alert_id == raised.alert_id != second.alert_id


async def test_a_delivery_that_waits_for_its_target_is_queued_with_the_reason(books, stream, query):
    stream.stored("1.1", 1)
    stream.completed("1.1", 1, 1)
    stream.decided("1.1", 1, "routed", ["pacs"])
    stream.queued("1.1", 1, "pacs", 1)
    stream.delivery(DeliveryStarted, "1.1", 1, "pacs", attempt=1, missing=1, dispatcher="d1")
    stream.delivery(DeliveryWaiting, "1.1", 1, "pacs", attempt=1, missing=1, reason="the target is down: gone")
    await books.record(facts(stream.messages))
    assert query("SELECT state, reason, attempt FROM ledger.deliveries") == [("queued", "the target is down: gone", 1)]
    assert query("SELECT attempt, result, reason FROM ledger.attempts") == [(1, "waiting", "the target is down: gone")]


async def test_a_series_whose_study_decides_is_completed_and_not_unmatched_until_then(books, query, stream):
    seen = []
    steps = [
        lambda: stream.stored("1.1", 1),
        lambda: stream.completed("1.1", 1, 1),
        lambda: stream.decided("1.1", 1, "deferred", problems=["rule x failed"]),
        lambda: stream.decided("1.1", 1, "unmatched", kind="study", problems=["rule y failed"]),
        lambda: stream.decided("1.1", 1, "deferred"),
        lambda: stream.decided("1.1", 1, "routed", ["pacs"], kind="study"),
    ]
    for step in steps:
        await books.record(facts([step()]))
        seen.append(query("SELECT state, problems FROM ledger.series")[0])
    failed = ["rule x failed", "rule y failed"]
    assert seen == [
        ("receiving", []),
        ("completed", []),
        ("completed", ["rule x failed"]),
        ("unmatched", failed),
        ("completed", []),
        ("routed", []),
    ]


async def test_a_study_reads_as_it_was_held_and_decided(books, query, stream):
    columns = "state, reason, rounds, series, instances, outcome, rules_revision, completed_at IS NOT NULL"
    seen = []
    steps = [
        lambda: stream.held("1.1.99"),
        lambda: stream.study("1.1.99", held=True, actor="ann", instances=7, targets=["pacs"]),
        lambda: stream.study("1.1.99", 2, kind="late", instances=9),
    ]
    for step in steps:
        await books.record(facts([step()]))
        seen.append(query(f"SELECT {columns} FROM ledger.studies")[0])  # noqa: S608  # our columns
    assert seen == [
        ("held", "a series is missing", 0, 1, 0, "", None, False),
        ("complete", "quiet", 1, 2, 7, "routed", 7, True),
        ("complete", "quiet", 2, 2, 9, "routed", 7, True),
    ]
    assert query("SELECT round, kind, actor FROM ledger.study_decisions ORDER BY round") == [
        (1, "rules", "ann"),
        (2, "late", ""),
    ]
    assert query("SELECT actor, action, about FROM ledger.audit") == [("ann", "study.completed", "1.1.99")]


async def test_what_a_modality_says_of_its_steps_is_recorded_with_its_study_once(books, query, stream):
    said = {
        "sop_instance_uid": "1.9", "association_id": "a1", "study_uid": "1.3", "studies": ["1.3"], "modality": "CT",
        "sender": Sender(calling_aet="CT01", called_aet="HERMES", address="10.0.0.7"),
    }  # fmt: skip
    created = stream.say(MppsCreated(**said, status="IN PROGRESS"))
    series = [PerformedSeries(series_uid="1.3.1", images=3, others=1)]
    ended = stream.say(MppsSet(**said, status="COMPLETED", series=series, change=2))
    await books.record(facts([created, ended, stream.again(ended)]))
    rows = query("SELECT type, about, data->>'status', data->'series' FROM ledger.events ORDER BY seq")
    assert rows == [
        ("hermes.v1.mpps.created", "study:1.3", "IN PROGRESS", []),
        ("hermes.v1.mpps.set", "study:1.3", "COMPLETED", [{"series_uid": "1.3.1", "images": 3, "others": 1}]),
    ]


async def test_how_long_a_series_had_to_be_quiet_is_kept_with_its_batch(books, query, stream):
    quiet = {"quiet_period": timedelta(seconds=90), "quiet_for": "modality MR", "shortened_by": "all are there"}
    await books.record(facts([stream.completed("1.1", 1, 1, **quiet), stream.completed("1.2", 1, 1)]))
    rows = query("SELECT quiet_period, quiet_for, shortened_by FROM ledger.batches ORDER BY series_uid")
    assert rows == [("90s", "modality MR", "all are there"), ("10s", "", "")]


async def test_a_store_that_is_too_full_raises_alerts_once_an_episode_and_clears_what_is_over(books, stream):
    pressed = {
        "episode": "e1",
        "since": datetime(2026, 1, 1, tzinfo=UTC),
        "excess": 5,
        "reason": "the object store is too full by 5 B",
    }
    stream.say(StoreCleaned(episode="e1", series=2, octets=9, reason="2 series went early"))
    stream.say(StorePressed(**pressed))
    stream.say(StoreCleaned(episode="e1", series=1, octets=3, reason="1 series went early"))
    stream.say(StorePressed(**pressed))
    stream.say(StoreRelieved(episode="e1"))
    says = await books.record(facts(stream.messages))
    said = list(dict.fromkeys((type(say.event).__name__, say.event.kind, say.id) for say in says))
    assert [each[:2] for each in said] == [
        ("AlertRaised", "store_cleaned"),
        ("AlertRaised", "store_full"),
        ("AlertCleared", "store_full"),
    ]


async def test_objects_that_are_missing_raise_one_alert_for_the_same_objects(books, stream):
    for missing in (["1/a", "1/b"], ["1/a", "1/b"], ["1/c"], []):
        stream.say(StoreSwept(objects=5, octets=5, missing=len(missing), examples=missing))
    says = await books.record(facts(stream.messages))
    assert [say.event.kind for say in says] == ["objects_missing"] * 2
    assert len({say.event.alert_id for say in says}) == 2
    assert "1/a, 1/b" in says[0].event.message


async def test_a_study_whose_series_were_routed_by_rules_about_series_is_routed(books, query, stream):
    stream.study("1.6.99", outcome="unmatched", routed=1)
    stream.study("1.7.99", outcome="unmatched")
    await books.record(facts(stream.messages))
    assert query("SELECT outcome FROM ledger.studies ORDER BY study_uid") == [("routed",), ("unmatched",)]


async def test_a_study_whose_procedure_step_was_told_before_it_was_decided_has_its_row(books, query, stream):
    step = {"sop_instance_uid": "2.25.7", "association_id": "a", "study_uid": "1.5.99"}
    step["sender"] = Sender(calling_aet="CT01", called_aet="HERMES", address="10.0.0.7")
    stream.say(MppsCreated(**step, studies=["1.5.99"], status="IN PROGRESS"))
    stream.held("1.5.99")
    stream.say(MppsSet(**step, studies=["1.5.99"], status="COMPLETED", change=2))
    stream.study("1.5.99", outcome="unmatched", instances=1)
    for message in stream.messages:
        await books.record(facts([message]))
    rows = query("SELECT study_uid, state, outcome, last_seq FROM ledger.studies")
    assert rows == [("1.5.99", "complete", "unmatched", 4)]
