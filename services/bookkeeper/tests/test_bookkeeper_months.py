"""The events in parts of a month: closed, read through, dropped, with what is not over carried on."""

import asyncio
import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from hermes_bookkeeper.adapters import books as sql_books
from hermes_bookkeeper.adapters import partitions, upkeep
from hermes_bookkeeper.adapters.indexes import build_indexes
from hermes_bookkeeper.adapters.upkeep import turn_months
from hermes_bookkeeper.core.facts import read
from hermes_bookkeeper.core.months import Part, expired, part_name
from hermes_bookkeeper.errors import InUseError
from hermes_common.events import DeliverySucceeded, SeriesDeleted

MAY, JUNE = datetime(2026, 5, 20, tzinfo=UTC), datetime(2026, 6, 2, tzinfo=UTC)
INDEXES = """
SELECT replace(indexdef, '_2026_05', '') FROM pg_indexes
WHERE schemaname = 'ledger' AND tablename = %s ORDER BY indexname"""


def facts(messages):
    return [read(message.subject, message.headers, message.data, message.sequence) for message in messages]


def test_a_part_is_named_after_its_month_and_goes_when_its_last_event_is_old_enough():
    assert part_name(MAY, []) == "events_2026_05"
    assert part_name(MAY, ["events_2026_05", "events_2026_05_2"]) == "events_2026_05_3"
    parts = [Part("b", JUNE), Part("a", MAY)]
    assert expired(parts, timedelta(days=30), JUNE + timedelta(days=31)) == ["a", "b"]
    assert expired(parts, timedelta(days=30), MAY + timedelta(days=31)) == ["a"]
    assert expired(parts, timedelta(days=30), JUNE) == []


@pytest.mark.servers
async def test_events_twice_and_shuffled_over_the_turn_of_two_months_come_to_the_same_tables(
    database, books, stream, contents, query
):
    stream.life()
    await books.record(facts(stream.messages))
    before = contents()
    for table in before:
        query(f"TRUNCATE ledger.{table}")
    batches = stream.shuffled(7)
    for number, batch in enumerate(batches):
        at = MAY + number * (3 * (JUNE - MAY) / len(batches))
        await database.run(lambda cursor, at=at: partitions.close_month(cursor, at))
        await database.run(lambda cursor, at=at, batch=batch: sql_books.record(cursor, facts(batch), at))
    assert len(await database.run(partitions.parts)) == 1
    assert contents() == before
    assert query("SELECT count(*) > 0 FROM ONLY ledger.events") == [(True,)]


@pytest.mark.servers
async def test_a_new_month_has_the_indexes_and_the_rights_of_the_one_before(
    database, books, stream, query, running_postgres
):
    superuser = make_url(running_postgres.server.superuser_url).set(
        drivername="postgresql", database=query("SELECT current_database()")[0][0]
    )
    with psycopg2.connect(superuser.render_as_string(hide_password=False)) as admin, admin.cursor() as cursor:
        cursor.execute("GRANT SELECT ON ledger.events TO pg_monitor")
    wanted = query(INDEXES, "events")
    stream.life()
    await database.run(lambda cursor: sql_books.record(cursor, facts(stream.messages[:10]), MAY))
    assert await database.run(lambda cursor: partitions.close_month(cursor, MAY)) is None
    assert await database.run(lambda cursor: partitions.close_month(cursor, JUNE)) == "events_2026_05"
    assert query(INDEXES, "events") == wanted
    assert len(query(INDEXES, "events_2026_05")) == len(wanted)
    assert query("SELECT has_table_privilege('pg_monitor', 'ledger.events', 'SELECT')") == [(True,)]
    assert query("SELECT count(*) FROM ledger.events") == [(10,)]


@pytest.mark.servers
async def test_a_month_that_is_old_goes_and_what_is_said_about_things_that_are_not_over_stays(
    database, books, stream, query
):
    stream.stored("1.1", 1)
    stream.completed("1.1", 1, 1)
    stream.decided("1.1", 1, "routed", ["pacs"])
    stream.queued("1.1", 1, "pacs", 1)
    stream.stored("1.2", 1)
    stream.completed("1.2", 1, 1)
    stream.say(SeriesDeleted(series_uid="1.2", objects=1, octets=1, reason="retention"))
    stream.stored("1.3", 1)
    await database.run(lambda cursor: sql_books.record(cursor, facts(stream.messages), MAY))
    rows = "SELECT series_uid, state, instances FROM ledger.series ORDER BY 1"
    before = query(rows)
    await database.run(lambda cursor: partitions.close_month(cursor, JUNE))
    await turn_months(database, timedelta(days=31))
    assert await database.run(partitions.parts) == []
    kept = query("SELECT series_uid, type FROM ONLY ledger.events ORDER BY seq")
    milestones = ("series.completed", "series.routed", "delivery.queued")
    assert kept == [("1.1", f"hermes.v1.{name}") for name in milestones] + [("1.3", "hermes.v1.instance.stored")]
    assert query(rows) == before
    late = [stream.delivery(DeliverySucceeded, "1.1", 1, "pacs", attempt=1, instances=1)]
    await books.record(facts(late))
    assert query(rows)[0] == ("1.1", "delivered", 1)
    assert query("SELECT state, instances, delivered FROM ledger.deliveries") == [("succeeded", 1, 1)]
    assert await turn_months(database, None) is None


@pytest.mark.servers
async def test_words_and_indexes_that_are_missing_or_broken_are_made(ledger_url, books, stream, query):
    stream.stored("1.1", 1, tags={"StudyDescription": ["knee_left"], "SliceThickness": ["1.5"]})
    await books.record(facts(stream.messages))
    words = query("SELECT words FROM ledger.series")
    assert "'knee'" in words[0][0]
    assert "'left'" in words[0][0]
    assert "'5'" not in words[0][0]
    query("ALTER TABLE ledger.series DISABLE TRIGGER keep_words; UPDATE ledger.series SET words = NULL")
    query("ALTER TABLE ledger.series ENABLE TRIGGER keep_words; DROP INDEX ledger.ix_series_words")
    assert await build_indexes(ledger_url) == ["ix_series_words"]
    assert query("SELECT words FROM ledger.series") == words
    assert await build_indexes(ledger_url) == []


class Reader:
    """Somebody who reads the events for long, and others who read them shortly all the time."""

    def __init__(self, url):
        self._url = url.get_secret_value().replace("+psycopg2", "")
        self._stop = threading.Event()
        self.waits: list[float] = []
        self.counts: set[int] = set()
        self.long = psycopg2.connect(self._url)
        with self.long.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
        self.long.commit()
        self.first = self.read_long()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def read_long(self) -> int:
        with self.long.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ledger.events")
            return cursor.fetchone()[0]

    def _read(self) -> None:
        with contextlib.closing(psycopg2.connect(self._url)) as connection:
            connection.autocommit = True
            while not self._stop.is_set():
                begun = time.monotonic()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM ledger.events")
                    self.counts.add(cursor.fetchone()[0])
                self.waits.append(time.monotonic() - begun)
                time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self.long.close()


@pytest.fixture
def reader(ledger_url):
    made: list[Reader] = []

    def make():
        made.append(Reader(ledger_url))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.mark.servers
@pytest.mark.parametrize("what", ["a month is closed", "a month is dropped"])
async def test_a_long_reader_neither_fails_nor_keeps_others_from_reading(
    database, books, stream, query, reader, monkeypatch, what
):
    monkeypatch.setattr(upkeep, "PAUSE", timedelta(milliseconds=300))
    for number in range(200):
        stream.stored("1.1", number)
    stream.completed("1.1", 1, 200)
    stream.say(SeriesDeleted(series_uid="1.1", objects=200, octets=1, reason="retention"))
    await database.run(lambda cursor: sql_books.record(cursor, facts(stream.messages), MAY))
    if what == "a month is dropped":
        await database.run(lambda cursor: partitions.close_month(cursor, JUNE))
    reading = reader()
    keep = timedelta(days=31) if what == "a month is dropped" else None
    turning = asyncio.create_task(turn_months(database, keep))
    await asyncio.sleep(3)
    assert not turning.done(), "it waits for the long reader"
    assert reading.read_long() == reading.first == 202, "who reads for long reads on"
    reading.long.commit()
    await asyncio.wait_for(turning, 15)
    left = await database.run(partitions.parts)
    await asyncio.sleep(0.3)
    reading.stop()
    assert len(reading.waits) > 50
    assert max(reading.waits) < 1, "nobody who comes to read waits for longer than a moment"
    if what == "a month is dropped":
        assert (left, reading.counts) == ([], {202, 0})
    else:
        assert (len(left), reading.counts) == (1, {202})


@pytest.mark.servers
async def test_a_table_that_is_never_free_is_left_for_the_next_look(database, books, stream, reader, monkeypatch):
    monkeypatch.setattr(upkeep, "PAUSE", timedelta(milliseconds=10))
    monkeypatch.setattr(upkeep, "TRIES", 3)
    stream.stored("1.1", 1)
    stream.say(SeriesDeleted(series_uid="1.1", objects=1, octets=1, reason="retention"))
    await database.run(lambda cursor: sql_books.record(cursor, facts(stream.messages), MAY))
    reader()
    with pytest.raises(InUseError):
        await turn_months(database, None)
    assert await database.run(partitions.parts) == []
