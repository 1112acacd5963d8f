"""Statements over the tables of the ledger. Names come from ``hermes_common.ledger`` alone; values are always bound."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.extras import execute_values
from psycopg2.sql import SQL, Composable, Identifier
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import JSONB

from hermes_bookkeeper.adapters.copying import Encoded, copy_in
from hermes_bookkeeper.core.said import Row
from hermes_bookkeeper.core.text import clean, to_json
from hermes_common import ledger

_PAGE = 500
_MANY = 50
"""From so many rows on they are copied."""

Guard = Callable[[Table, Sequence[str]], Composable]
"""Returns the condition under which a row replaces the one that is there."""


def first_said(table: Table, _: Sequence[str]) -> Composable:
    """Replace a row only by what was said earlier in the stream."""
    return SQL("EXCLUDED.seq < {}.seq").format(Identifier(table.name))


def different(table: Table, columns: Sequence[str]) -> Composable:
    """Replace a row only by a different one."""
    return SQL("({}) IS DISTINCT FROM ({})").format(_of(table.name, columns), _of("EXCLUDED", columns))


def better_outcome(table: Table, _: Sequence[str]) -> Composable:
    """Replace the outcome of an instance by one that ranks higher (``core.rows.outcome_rows`` ranks the same way)."""
    rank = SQL(
        "({0}.result = 'delivered', {0}.attempt, {0}.at, coalesce({0}.status, -1), {0}.reason COLLATE \"C\", -{0}.seq)"
    )
    return SQL("{} > {}").format(rank.format(SQL("EXCLUDED")), rank.format(Identifier(table.name)))


def never(_table: Table, _columns: Sequence[str]) -> Composable:
    """Leave the row that is there as it is."""
    return SQL("false")


def not_dealt_with(table: Table, _: Sequence[str]) -> Composable:
    """Replace news that nobody has looked at; what was told is never told again."""
    return SQL("{}.done_at IS NULL").format(Identifier(table.name))


def upsert(
    cursor: Cursor,
    table: Table,
    rows: Sequence[Row],
    guard: Guard,
    *,
    key: Sequence[str] | None = None,
    returning: str | None = None,
) -> list[Any]:
    """Insert rows of equal columns; where the key is taken, replace under the guard. Return the column asked for."""
    if not rows:
        return []
    names = list(rows[0])
    key = key or [column.name for column in table.primary_key.columns]
    others = [name for name in names if name not in key]
    columns = SQL(", ").join(map(Identifier, names))
    head = SQL("INSERT INTO {} ({}) ").format(Identifier(ledger.SCHEMA, table.name), columns)
    tail = SQL(" ON CONFLICT ({}) DO UPDATE SET {} WHERE {}").format(
        SQL(", ").join(map(Identifier, key)),
        SQL(", ").join(SQL("{0} = EXCLUDED.{0}").format(Identifier(name)) for name in others),
        guard(table, others),
    )
    if returning is not None:
        tail += SQL(" RETURNING {}").format(Identifier(table.name, returning))
    if len(rows) >= _MANY:
        incoming = copy_in(cursor, table, names, rows, _json_columns(table))
        cursor.execute(head + SQL("SELECT {} FROM {}").format(columns, incoming) + tail)
        return [found for (found,) in cursor.fetchall()] if returning is not None else []
    template = ", ".join("%s::jsonb" if _is_json(table, name) else "%s" for name in names)
    values = [[_bound(table, name, row[name]) for name in names] for row in rows]
    statement = head + SQL("VALUES %s") + tail
    result = execute_values(
        cursor,
        statement.as_string(cursor),
        values,
        template=f"({template})",
        page_size=_PAGE,
        fetch=returning is not None,
    )
    return [found for (found,) in result] if returning is not None else []


def _of(relation: str, columns: Sequence[str]) -> Composable:
    prefix = SQL("EXCLUDED") if relation == "EXCLUDED" else Identifier(relation)
    return SQL(", ").join(SQL("{}.{}").format(prefix, Identifier(name)) for name in columns)


def _is_json(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, JSONB)


def _json_columns(table: Table) -> frozenset[str]:
    return frozenset(column.name for column in table.columns if isinstance(column.type, JSONB))


def _bound(table: Table, name: str, value: Any) -> Any:
    match value:
        case Encoded():
            return str(value)
        case _ if _is_json(table, name):
            return to_json(value)
        case str():
            return clean(value)
        case int() | float() | datetime() | None:
            return value
        case _:
            raise TypeError(f"{table.name}.{name} cannot hold a {type(value).__name__}")
