"""The bookkeeper between a real NATS and a real PostgreSQL."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.app import keep_books, lag
from hermes_bookkeeper.settings import Settings
from hermes_common import subjects
from hermes_common.events import ServiceStarted
from hermes_local.servers.testing import postgres_server

pytestmark = pytest.mark.servers


@contextlib.asynccontextmanager
async def bookkeeper(bus, url, batch=500) -> AsyncIterator[Database]:
    """A bookkeeper at work."""
    settings = Settings(database_url=SecretStr(url), bookkeeper_batch=batch)
    stopping = asyncio.Event()
    database = Database(settings.database_url, "bookkeeper")
    task = asyncio.create_task(keep_books(bus, database, settings, stopping, asyncio.Event()))
    try:
        yield database
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)
        await database.close()


async def send(bus, messages) -> None:
    window = asyncio.Semaphore(500)

    async def one(message) -> None:
        async with window:
            await bus.send(message.subject, message.data, message.headers)

    await asyncio.gather(*(one(message) for message in messages))


async def until(condition, limit=30.0) -> None:
    end = time.monotonic() + limit
    while not await condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)


async def recorded(database, table="events") -> int:
    def count(cursor):
        cursor.execute(f"SELECT count(*) FROM ledger.{table}")  # noqa: S608  # a name of the test
        return cursor.fetchone()[0]

    return await database.run(count)


async def all_done(bus) -> None:
    async def done() -> bool:
        with contextlib.suppress(Exception):
            return await lag(bus) == 0
        return False

    await until(done)


async def test_what_is_published_is_in_the_tables_and_alerts_are_published(bus, database_url, stream):
    stream.life()
    async with bookkeeper(bus, database_url) as database:
        await send(bus, stream.messages)
        await until(lambda: _count(database, "alerts", 6))
        await all_done(bus)
        raised = [message async for message in bus.read(subjects.EVENTS, "hermes.v1.alert.raised", 0)]
        assert len(raised) == 6
        open_alerts = await _rows(database, "SELECT kind FROM ledger.alerts WHERE cleared_at IS NULL ORDER BY 1")
        assert open_alerts == [("message_parked",), ("service_crashed",)]
        assert database.problem() is None


async def test_two_bookkeepers_side_by_side_take_everything_down_once(bus, database_url, stream):
    for number in range(600):
        stream.stored(f"1.{number % 7}", number)
    stream.life()
    async with bookkeeper(bus, database_url) as database, bookkeeper(bus, database_url):
        for start in range(0, len(stream.messages), 40):
            await send(bus, stream.messages[start : start + 40])
        await all_done(bus)
        counts = await _rows(
            database,
            "SELECT s.series_uid, s.instances, count(DISTINCT i.sop_instance_uid)"
            " FROM ledger.series s JOIN ledger.instances i USING (series_uid) GROUP BY 1, 2 ORDER BY 1",
        )
        assert len(counts) == 7
        assert all(said == counted for _, said, counted in counts)
        assert await recorded(database, "instances") == 618


@pytest.mark.parametrize("batch", [500, 6])
async def test_what_is_no_event_and_what_the_database_refuses_is_parked_and_blocks_nothing(
    bus, database_url, stream, batch
):
    good = [stream.stored("1.1", number) for number in range(1, 21)]
    refused = stream.stored("1.1", 21, octets=2**70)
    await send(bus, good[:10])
    await send(bus, [refused])
    await bus.send("hermes.v1.instance.stored.1-1", b"{}", {"ce-type": "hermes.v1.instance.stored"})
    await bus.send("hermes.v1.nothing", b"no headers")
    await send(bus, good[10:])
    async with bookkeeper(bus, database_url, batch) as database:
        await all_done(bus)
        await until(lambda: _count(database, "alerts", 3))
        assert await recorded(database, "instances") == 20
        assert await _rows(database, "SELECT instances FROM ledger.series") == [(20,)]
        parked = await _rows(database, "SELECT reason FROM ledger.parked ORDER BY reason")
        assert len(parked) == 3
        assert any("22003" in reason for (reason,) in parked)
        info = await bus.js.stream_info(subjects.PARKED)
        assert info.state.messages == 3


async def test_postgresql_killed_in_mid_stream_and_started_again_is_caught_up_with(bus, stream, tmp_path):
    for number in range(3000):
        stream.stored(f"1.{number % 3}", number)
    folder = tmp_path / "postgres"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(postgres_server(folder))
        port = first.server.port
        async with bookkeeper(bus, first.url) as database:
            await send(bus, stream.messages[:1000])
            await until(lambda: _count(database, "instances", 1))
            first.process.kill()
            await send(bus, stream.messages[1000:])

            async def noticed() -> bool:
                return database.problem() is not None

            await until(noticed)
            assert "PostgreSQL" in database.problem()
            stack.close()
            with postgres_server(folder, port=port):
                back = time.monotonic()
                await all_done(bus)
                print(f"caught up {time.monotonic() - back:.1f} s after PostgreSQL was back")  # noqa: T201  # the measurement
                assert await recorded(database, "instances") == 3000
                counts = await _rows(database, "SELECT instances FROM ledger.series")
                assert counts == [(1000,)] * 3
                assert database.problem() is None


async def test_a_bookkeeper_waits_for_a_database_that_is_not_there_yet(bus, tmp_path):
    await bus.publish(ServiceStarted(service="x", instance="x@1"))
    folder = tmp_path / "postgres"
    with postgres_server(folder) as first:
        url, port = first.url, first.server.port
    async with bookkeeper(bus, url) as database:
        await asyncio.sleep(0.5)
        assert database.problem() is not None
        with postgres_server(folder, port=port):
            await all_done(bus)
            assert await recorded(database, "services") == 1


async def test_twenty_thousand_events_are_caught_up_with(bus, database_url, stream):
    for number in range(19_000):
        stream.stored(f"1.{number % 4}", number)
    for number in range(1000):
        stream.progressed("1.1", 1, "pacs", 1, "-" * (number % 400) + "dd")
    await send(bus, stream.messages)
    begun = time.monotonic()
    async with bookkeeper(bus, database_url) as database:
        await all_done(bus)
        spent = time.monotonic() - begun
        print(f"{len(stream.messages)} events in {spent:.1f} s: {len(stream.messages) / spent:,.0f} events/s")  # noqa: T201  # the measurement
        assert await recorded(database) == 20_000
        assert await _rows(database, "SELECT sum(instances) FROM ledger.series") == [(19_000,)]


async def _count(database, table, least) -> bool:
    with contextlib.suppress(Exception):
        return await recorded(database, table) >= least
    return False


async def _rows(database, statement):
    def run(cursor):
        cursor.execute(statement)
        return cursor.fetchall()

    return await database.run(run)
