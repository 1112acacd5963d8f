"""The ledger as it was, set aside in a schema of its own while it is made again (ADR-0021)."""

from collections.abc import Iterator
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.sql import SQL, Identifier
from pydantic import SecretStr, ValidationError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from hermes_bookkeeper.adapters import books, receptions
from hermes_bookkeeper.adapters.database import connect_arguments, translated
from hermes_bookkeeper.adapters.migrate import upgrade
from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.errors import DatabaseUnavailableError
from hermes_common import ledger
from hermes_common.events import EVENT_TYPES, Event

FORMER = "ledger_before"
"""The schema of what was set aside; it has this name until everything is made again."""

_NOT_CARRIED = frozenset({"events", "audit", "audit_chain"})
_THERE = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
_EVENTS = """
SELECT id, seq, type, subject, source, time, series_uid, delivery_id, about, data::text, data
FROM ledger_before.events ORDER BY seq, id"""
_AUDIT = """
INSERT INTO ledger.audit OVERRIDING SYSTEM VALUE SELECT * FROM ledger_before.audit;
SELECT setval(pg_get_serial_sequence('ledger.audit', 'number'), coalesce(max(number), 1)) FROM ledger.audit"""

_CHAIN_BEFORE = "SELECT to_regclass('ledger_before.audit_chain') IS NOT NULL"
_CHAIN = "INSERT INTO ledger.audit_chain SELECT * FROM ledger_before.audit_chain"

_TOLD_BEFORE = "SELECT to_regclass('ledger_before.alert_news') IS NOT NULL"
_TOLD = """
INSERT INTO ledger.alert_news SELECT * FROM ledger_before.alert_news WHERE done_at IS NOT NULL;
INSERT INTO ledger.alert_messages SELECT * FROM ledger_before.alert_messages"""
"""What people were told already is not told again because it is recorded again."""


def set_aside(url: SecretStr) -> bool:
    """Give the present tables another schema and make empty ones in its place, in one transaction.

    Return False where that has been done before and was not finished: what was made since then is gone on with. The
    audit is taken over as it is, its chain with it. Raises :class:`DatabaseUnavailableError`.
    """
    arguments = connect_arguments(url, "bookkeeper-rebuild")
    engine = create_engine(
        make_url("postgresql+psycopg2://"), creator=lambda: psycopg2.connect(**arguments), poolclass=NullPool
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": books.LOCK})
            there = connection.exec_driver_sql(_THERE, (FORMER,)).scalar_one()
            if not there and connection.exec_driver_sql(_THERE, (ledger.SCHEMA,)).scalar_one():
                connection.execute(text(f"ALTER SCHEMA {ledger.SCHEMA} RENAME TO {FORMER}"))
                upgrade(connection)
                connection.execute(text(_AUDIT))
                if connection.exec_driver_sql(_CHAIN_BEFORE).scalar_one():
                    connection.execute(text(_CHAIN))
                if connection.exec_driver_sql(_TOLD_BEFORE).scalar_one():
                    connection.execute(text(_TOLD))
            else:
                upgrade(connection)
            return not there
    except DBAPIError as error:
        if isinstance(error.orig, psycopg2.Error):
            raise DatabaseUnavailableError(f"the tables cannot be set aside: {translated(error.orig)}") from error
        raise
    except psycopg2.Error as error:
        raise DatabaseUnavailableError(str(translated(error))) from error
    finally:
        engine.dispose()


def exists(cursor: Cursor) -> bool:
    """Return whether there are former tables."""
    cursor.execute(_THERE, [FORMER])
    [(there,)] = cursor.fetchall()
    return bool(there)


def events(cursor: Cursor, size: int) -> Iterator[list[Fact]]:
    """Yield the former events in the order of the stream. ``cursor``: a named one, which keeps them at the server."""
    cursor.execute(_EVENTS)
    while rows := cursor.fetchmany(size):
        yield [_fact(row) for row in rows]


def _fact(row: tuple[Any, ...]) -> Fact:
    *columns, data, value = row
    return Fact(*columns, data=data, event=_event(columns[2], value))


def _event(type_name: str, data: Any) -> Event | None:
    model = EVENT_TYPES.get(type_name)
    try:
        return None if model is None else model.model_validate(data)
    except ValidationError:
        return None


def known(cursor: Cursor, ids: list[str]) -> set[str]:
    """Return those of the ids that are recorded."""
    cursor.execute("SELECT id FROM ledger.events WHERE id = ANY(%s)", [ids])
    return {row[0] for row in cursor}


def carry(cursor: Cursor) -> dict[str, int]:
    """Take over the rows that no event speaks of any more, as they were; return how many of each table.

    Series that get receptions by it are counted again.
    """
    found, grown = {}, set()
    for table in ledger.metadata.sorted_tables:
        if table.name in _NOT_CARRIED:
            continue
        cursor.execute(_COLUMNS, [FORMER, table.name])
        former = {row[0] for row in cursor.fetchall()}
        names = SQL(", ").join(Identifier(column.name) for column in table.columns if column.name in former)
        if not former:
            continue
        take = "INSERT INTO {} ({names}) SELECT {names} FROM {} ON CONFLICT DO NOTHING"
        returning = " RETURNING series_uid" if table.name == "instances" else ""
        new, old = Identifier(ledger.SCHEMA, table.name), Identifier(FORMER, table.name)
        cursor.execute(SQL(take + returning).format(new, old, names=names))
        found[table.name] = cursor.rowcount
        if returning:
            grown = {row[0] for row in cursor.fetchall()}
    books.derive_series(cursor, grown, receptions.counted_again(cursor, grown))
    return {name: count for name, count in found.items() if count}


def finish(cursor: Cursor, name: str) -> None:
    """Give the former tables the name under which they stay until somebody drops them."""
    cursor.execute(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(FORMER), Identifier(name)))
