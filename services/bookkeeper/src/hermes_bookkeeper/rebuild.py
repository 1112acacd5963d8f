"""``hermes-bookkeeper-rebuild``: makes every table of the history again, while the bookkeepers go on."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import psycopg2
from pydantic import SecretStr, ValidationError

from hermes_bookkeeper.adapters import books, former
from hermes_bookkeeper.adapters.database import Database, connect_arguments, translated
from hermes_bookkeeper.adapters.indexes import build_indexes
from hermes_bookkeeper.adapters.ledger import SqlLedger
from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_bookkeeper.handlers.rebuilding import Rebuilt, rebuild
from hermes_bookkeeper.settings import Settings
from hermes_common import subjects
from hermes_common.auditchain import ChainKey
from hermes_common.records import DeliveryRecord, SeriesRecord
from hermes_common.runtime.bus import Bus, StoredMessage
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.sealing import chain_key

SIZE = 1000
_CONNECT = timedelta(seconds=15)
Record = TypeVar("Record", SeriesRecord, DeliveryRecord)


class RebuiltBooks:
    """The new tables, and the former ones beside them."""

    def __init__(self, url: SecretStr, database: Database, key: ChainKey) -> None:
        self._arguments = connect_arguments(url, "bookkeeper-former")
        self._database = database
        self._ledger = SqlLedger(database, key)

    async def record(self, facts: Sequence[Fact]) -> list[Say]:
        """Take facts down. What follows as alerts was said when they first came."""
        return await self._ledger.record(facts)

    async def former_events(self, size: int) -> AsyncIterator[list[Fact]]:
        """Yield the former events from one snapshot, through a connection of their own."""
        if not await self._database.run(former.exists):
            return
        try:
            with self._reading() as cursor:
                batches = former.events(cursor, size)
                while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                    yield batch
        except psycopg2.Error as error:
            raise translated(error) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[psycopg2.extensions.cursor]:
        with contextlib.closing(psycopg2.connect(**self._arguments)) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            with connection.cursor("former") as cursor:
                cursor.itersize = SIZE
                yield cursor

    async def known(self, ids: list[str]) -> set[str]:
        """Return those of the ids that are recorded."""
        return await self._database.run(lambda cursor: former.known(cursor, ids))

    async def carry(self) -> dict[str, int]:
        """Take over what no event speaks of."""

        def work(cursor: psycopg2.extensions.cursor) -> dict[str, int]:
            cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10min'")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [books.LOCK])  # nobody records meanwhile
            return former.carry(cursor) if former.exists(cursor) else {}

        return await self._database.run(work)


class OnBus:
    """The stream of events and the live records."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def stream(self) -> AsyncIterator[StoredMessage]:
        """Yield every message of the stream of events."""
        return self._bus.read(subjects.EVENTS, subjects.EVENTS_ALL, 0)

    def series(self) -> AsyncIterator[SeriesRecord]:
        """Yield the live records of series."""
        return self._records("series.*", SeriesRecord)

    def deliveries(self) -> AsyncIterator[DeliveryRecord]:
        """Yield the live records of deliveries."""
        return self._records("delivery.*", DeliveryRecord)

    async def _records(self, pattern: str, model: type[Record]) -> AsyncIterator[Record]:
        for key in sorted(await self._bus.keys(subjects.STATE, pattern)):
            try:
                found = await self._bus.load(subjects.STATE, key, model)
            except ValidationError as error:
                print(f"the record {key} cannot be read and is left out: {error.error_count()} mistakes")  # noqa: T201
                continue
            if found is not None:
                yield found[0]


async def make_again(settings: Settings, bus: Bus) -> tuple[Rebuilt, str]:
    """Make the tables again; return of what, and the schema in which the former ones are, empty if there were none.

    Raises DatabaseUnavailableError, RefusedError or BusUnavailableError; the next call goes on from there.
    """
    url = settings.database_url
    is_new = await asyncio.to_thread(former.set_aside, url)
    print("the former tables are set aside" if is_new else "going on with what an earlier run began")  # noqa: T201
    database = Database(url, "bookkeeper-rebuild")
    try:
        books_again = RebuiltBooks(url, database, chain_key(settings.secret_key))
        done = await rebuild(books_again, OnBus(bus), SIZE, lambda line: print(line, flush=True))  # noqa: T201
        await build_indexes(url)
        name = f"ledger_until_{now():%Y%m%d_%H%M%S_%f}" if await database.run(former.exists) else ""
        if name:
            await database.run(lambda cursor: former.finish(cursor, name))
    finally:
        await database.close()
    return done, name


async def _run(settings: Settings) -> int:
    bus = Bus(settings, "bookkeeper-rebuild")
    bus.start()
    try:
        await asyncio.wait_for(bus.ready(), _CONNECT.total_seconds())
        done, name = await make_again(settings, bus)
    except TimeoutError:
        print("the bus (NATS) does not answer: check HERMES_NATS_URL", file=sys.stderr)  # noqa: T201
        return 1
    except (DatabaseUnavailableError, RefusedError, BusUnavailableError) as error:
        print(f"{error}\nStart it again to go on from here.", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        await bus.close()
    print(  # noqa: T201
        f"made again of {done.former:,} former events, {done.stream:,} of the stream, and {done.records:,} that the "
        f"live records stand for; taken over as they were: {done.carried or 'no rows'}"
    )
    for line in done.left_out[:20]:
        print(f"left out: {line}")  # noqa: T201
    if name:
        print(f"The former tables are in the schema {name}. When all is well: DROP SCHEMA {name} CASCADE")  # noqa: T201
    return 0


def main() -> None:
    """Make the tables again and exit: 0 when they are complete."""
    if len(sys.argv) > 1:
        print(__doc__, file=sys.stderr)  # noqa: T201
        raise SystemExit(0 if sys.argv[1] in {"-h", "--help"} else 2)
    raise SystemExit(asyncio.run(_run(Settings())))


if __name__ == "__main__":
    main()
