"""The indexes of the ledger that are not there yet, made beside the work (ADR-0022).

``CREATE INDEX CONCURRENTLY`` holds up nobody, neither this release nor the one before, and cannot be part of a
migration's transaction. What was broken off halfway is made again.
"""

import contextlib
import logging
import time
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.sql import SQL, Identifier
from pydantic import SecretStr
from sqlalchemy import Index
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from hermes_bookkeeper.adapters.database import connect_arguments, translated
from hermes_common import ledger

log = logging.getLogger(__name__)

LOCK = 0x4865726D_65736978
"""Key of the advisory lock of whoever makes indexes. Asked for, never waited for: a statement that waits has a
snapshot, and whoever makes an index waits for every older snapshot to end."""

_VALID = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"""


def build_indexes(url: SecretStr) -> list[str]:
    """Make the indexes that are missing and return their names; none where another process is at it.

    Raises ``DatabaseUnavailableError`` or ``RefusedError``; then some are made, and the rest will be by the next call.
    """
    try:
        with contextlib.closing(psycopg2.connect(**connect_arguments(url, "bookkeeper-indexes"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor, _alone(cursor) as alone:
                return _build(cursor) if alone else []
    except psycopg2.Error as error:
        raise translated(error) from error


@contextlib.contextmanager
def _alone(cursor: Cursor) -> Iterator[bool]:
    cursor.execute("SET statement_timeout = 0")
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
    found = cursor.fetchone()
    yield bool(found and found[0])  # the lock ends with the connection


def _build(cursor: Cursor) -> list[str]:
    cursor.execute(_VALID, [ledger.SCHEMA])
    valid: dict[str, bool] = dict(iter(cursor.fetchall()))
    wanted = {str(index.name): index for table in ledger.metadata.sorted_tables for index in table.indexes}
    missing = [name for name in sorted(wanted) if not valid.get(name, False)]
    for name in missing:
        start = time.monotonic()
        if name in valid:
            cursor.execute(SQL("DROP INDEX CONCURRENTLY {}").format(Identifier(ledger.SCHEMA, name)))
        cursor.execute(_statement(wanted[name]))
        log.info("the index %s was made in %.1f s", name, time.monotonic() - start)
    for table in {wanted[name].table for name in missing if wanted[name].table is not None}:
        cursor.execute(SQL("ANALYZE {}").format(Identifier(ledger.SCHEMA, table.name)))
    return missing


def _statement(index: Index) -> str:
    made = str(CreateIndex(index).compile(dialect=postgresql.dialect()))
    return made.replace("INDEX", "INDEX CONCURRENTLY", 1)
