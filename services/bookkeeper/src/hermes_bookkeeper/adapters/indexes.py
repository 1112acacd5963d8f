"""Words and indexes of the ledger that are not there yet, made beside the work (ADR-0022).

``CREATE INDEX CONCURRENTLY`` holds up nobody, neither this release nor the one before, and cannot be part of a
migration's transaction. What was broken off halfway is made again.
"""

import asyncio
import contextlib
import logging
import time

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier
from pydantic import SecretStr
from sqlalchemy import Index
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from hermes_bookkeeper.adapters import books
from hermes_bookkeeper.adapters.database import connect_arguments, translated
from hermes_common import ledger

log = logging.getLogger(__name__)

LOCK = 0x4865726D_65736978
"""Key of the advisory lock of whoever makes indexes. Asked for, never waited for: a statement that waits has a
snapshot, and whoever makes an index waits for every older snapshot to end."""

_VALID = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"""
_WORDS = """
WITH these AS (SELECT series_uid FROM ledger.series WHERE series_uid > %s ORDER BY series_uid LIMIT 2000),
done AS (
    UPDATE ledger.series AS s SET words = NULL  -- the trigger fills it in
    FROM these WHERE s.series_uid = these.series_uid AND s.words IS NULL
)
SELECT max(series_uid) FROM these"""


async def build_indexes(url: SecretStr) -> list[str]:
    """Make words and indexes that are missing; return the names of these: none where another process is at it.

    Raises ``DatabaseUnavailableError`` or ``RefusedError``; then some are made, and the next call makes the rest. When
    it is cancelled the statement that runs is too.
    """
    builder = _Builder(url)
    building = asyncio.create_task(asyncio.to_thread(builder.run))
    try:
        return await asyncio.shield(building)
    except asyncio.CancelledError:
        builder.cancel()
        await asyncio.wait([building])
        raise


class _Builder:
    """One run over what is missing, in a thread of its own."""

    def __init__(self, url: SecretStr) -> None:
        self._arguments = connect_arguments(url, "bookkeeper-indexes")
        self._connection: Connection | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """End the run soon."""
        self._cancelled = True
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.cancel()

    def run(self) -> list[str]:
        """Make what is missing."""
        try:
            with contextlib.closing(psycopg2.connect(**self._arguments)) as connection:
                connection.autocommit = True
                self._connection = connection
                with connection.cursor() as cursor:
                    return self._build(cursor)
        except psycopg2.Error as error:
            raise translated(error) from error

    def _build(self, cursor: Cursor) -> list[str]:
        cursor.execute("SET statement_timeout = 0; SET maintenance_work_mem = '256MB'")
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])  # until the connection ends
        [(alone,)] = cursor.fetchall()
        if not alone:
            return []
        self._fill_words(cursor)
        cursor.execute(_VALID, [ledger.SCHEMA])
        valid: dict[str, bool] = dict(iter(cursor.fetchall()))
        wanted = {str(index.name): index for table in ledger.metadata.sorted_tables for index in table.indexes}
        made = []
        for name in sorted(wanted):
            if not valid.get(name, False) and not self._cancelled:
                _make(cursor, name, wanted[name], is_there=name in valid)
                made.append(name)
        for table in {index.table.name for name, index in wanted.items() if name in made and index.table is not None}:
            cursor.execute(SQL("ANALYZE {}").format(Identifier(ledger.SCHEMA, table)))
        return made

    def _fill_words(self, cursor: Cursor) -> None:
        """Make the words of the series that have none, a few at a time: bookkeepers take their turns in between."""
        cursor.execute("SELECT EXISTS (SELECT FROM ledger.series WHERE words IS NULL)")
        [(missing,)] = cursor.fetchall()
        last = "" if missing else None
        while last is not None and not self._cancelled:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [books.LOCK])
            cursor.execute(_WORDS, [last])
            [(last,)] = cursor.fetchall()
            cursor.execute("COMMIT")


def _make(cursor: Cursor, name: str, index: Index, *, is_there: bool) -> None:
    start = time.monotonic()
    if is_there:
        cursor.execute(SQL("DROP INDEX CONCURRENTLY {}").format(Identifier(ledger.SCHEMA, name)))
    statement = str(CreateIndex(index).compile(dialect=postgresql.dialect()))
    cursor.execute(statement.replace("INDEX", "INDEX CONCURRENTLY", 1))
    log.info("the index %s was made in %.1f s", name, time.monotonic() - start)
