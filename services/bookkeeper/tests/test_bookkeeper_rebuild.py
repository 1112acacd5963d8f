"""The tables made again from events, stream and live records, into the same."""

from datetime import UTC, datetime

import pytest

from hermes_bookkeeper.adapters import former
from hermes_bookkeeper.core.facts import read
from hermes_bookkeeper.rebuild import make_again
from hermes_bookkeeper.settings import Settings
from hermes_common import subjects
from hermes_common.records import BatchRef, DeliveryRecord, SeriesRecord

pytestmark = pytest.mark.servers
IDS = ("d1", "d2")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def facts(messages):
    return [read(message.subject, message.headers, message.data, message.sequence) for message in messages]


async def through_the_stream(bus, messages):
    """Return messages as the stream has them."""
    for message in messages:
        await bus.send(message.subject, message.data, message.headers)
    return [message async for message in bus.read(subjects.EVENTS, subjects.EVENTS_ALL, 0)]


async def test_tables_that_are_wrong_and_incomplete_are_as_they_were_after_a_rebuild(
    bus, ledger_url, stream, books, contents, query
):
    stream.life()
    messages = await through_the_stream(bus, stream.messages)
    await books.record(facts(messages))
    before = contents()
    query("UPDATE ledger.series SET state = 'delivered', instances = 99, tags = '{}'")
    query("DELETE FROM ledger.instances WHERE seq % 2 = 0")
    query("DELETE FROM ledger.events WHERE seq % 3 = 0")
    query("UPDATE ledger.deliveries SET delivered = 0")
    assert contents() != before
    done, name = await make_again(Settings(database_url=ledger_url), bus)
    assert contents() == before
    assert done.left_out == []
    assert done.stream == len(messages)
    assert query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ledger%%' ORDER BY 1") == [("ledger",), (name,)]


async def test_a_lost_database_is_made_from_the_stream(bus, database_url, stream, ledger_url, books, contents, query):
    stream.life()
    messages = await through_the_stream(bus, stream.messages)
    await books.record(facts(messages))
    before = contents()
    query("DROP SCHEMA ledger CASCADE")
    done, name = await make_again(Settings(database_url=ledger_url), bus)
    assert contents() == before
    assert (done.former, name) == (0, "")


async def test_what_the_stream_has_forgotten_comes_from_the_former_events(
    bus, ledger_url, stream, books, contents, query
):
    stream.life()
    await books.record(facts(stream.messages))
    before = contents()
    numbers = query("SELECT event_id, number FROM ledger.audit ORDER BY number")
    done, _ = await make_again(Settings(database_url=ledger_url), bus)
    assert contents() == before
    assert query("SELECT event_id, number FROM ledger.audit ORDER BY number") == numbers
    assert done.stream == 0


async def test_a_rebuild_that_broke_off_is_gone_on_with(bus, ledger_url, stream, books, contents, query):
    stream.life()
    await books.record(facts(stream.messages))
    before = contents()
    assert former.set_aside(ledger_url)
    await books.record(facts(stream.messages[:20]))
    await make_again(Settings(database_url=ledger_url), bus)
    assert contents() == before


async def test_rows_that_no_event_speaks_of_any_more_are_taken_over_and_their_series_counted(
    bus, ledger_url, stream, books, database, contents, query
):
    for number in range(5):
        stream.stored("1.1", number)
    stream.completed("1.1", 1, 5)
    stream.decided("1.1", 1, "routed", ["pacs"])
    await books.record(facts(stream.messages))
    before = contents()
    query("DELETE FROM ledger.events WHERE seq < 5")
    done, _ = await make_again(Settings(database_url=ledger_url), bus)
    after = contents()
    assert done.carried == {"instances": 4}
    assert {name: rows for name, rows in after.items() if name != "events"} == {
        name: rows for name, rows in before.items() if name != "events"
    }


def batch(number, outcome, **more):
    fields = {"manifest_key": "m", "decision_key": "d", "instances": 4, "octets": 400, "decided_at": AT, **more}
    return BatchRef(batch_id=f"b{number}", batch=number, outcome=outcome, through_seq=10 * number, **fields)


async def test_what_neither_stream_nor_tables_know_comes_from_the_live_records(bus, ledger_url, query):
    times = {"created_at": AT, "updated_at": AT}
    series = [
        SeriesRecord(
            series_uid="1.1", study_uid="1.9", batches=(batch(1, "routed", deliveries=("d1", "d2")),), **times
        ),
        SeriesRecord(series_uid="1.2", study_uid="1.9", batches=(batch(2, "unmatched"),), **times),
    ]
    about = {
        "series_uid": "1.1",
        "study_uid": "1.9",
        "batch_id": "b1",
        "manifest_key": "m",
        "instances": 4,
        "octets": 4,
    }
    deliveries = [
        DeliveryRecord(delivery_id="d1", target="pacs", state="succeeded", attempt=2, **about, **times),
        DeliveryRecord(delivery_id="d2", target="ai", state="failed", attempt=3, reason="no", **about, **times),
    ]
    for record in series:
        await bus.create(subjects.STATE, subjects.series_state(record.series_uid), record)
    for record in deliveries:
        await bus.create(subjects.STATE, subjects.delivery_state(record.delivery_id), record)
    done, _ = await make_again(Settings(database_url=ledger_url), bus)
    assert done.records == 8
    assert query("SELECT series_uid, state, instances FROM ledger.series ORDER BY 1") == [
        ("1.1", "partly_failed", 4),
        ("1.2", "unmatched", 4),
    ]
    assert query("SELECT delivery_id, target, state, attempt, reason FROM ledger.deliveries ORDER BY 1") == [
        ("d1", "pacs", "succeeded", 2, ""),
        ("d2", "ai", "failed", 3, "no"),
    ]
    again, _ = await make_again(Settings(database_url=ledger_url), bus)
    assert again.records == 0
