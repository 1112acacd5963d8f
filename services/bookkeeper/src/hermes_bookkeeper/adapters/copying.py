"""Rows as the text of COPY (PostgreSQL manual, COPY, "Text Format"): what takes many rows in at the least cost."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.sql import SQL, Composed, Identifier
from sqlalchemy import Table

from hermes_bookkeeper.core.said import Row
from hermes_bookkeeper.core.text import clean, to_json
from hermes_common import ledger

_SPECIAL = re.compile("[\x00\ud800-\udfff\\\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Encoded(str):
    """JSON that is encoded already."""

    __slots__ = ()


def copy_in(cursor: Cursor, table: Table, names: Sequence[str], rows: Iterable[Row], json: frozenset[str]) -> Composed:
    """Copy rows into a table of this connection like ``table`` and return its name; it is empty after the transaction.

    ``json``: the columns whose values are encoded as JSON, unless they are :class:`Encoded` already.
    """
    name = f"incoming_{table.name}"
    cursor.execute("SELECT to_regclass(%s)", [f"pg_temp.{name}"])
    if cursor.fetchall() == [(None,)]:
        like = SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DELETE ROWS")
        cursor.execute(like.format(Identifier(name), Identifier(ledger.SCHEMA, table.name)))
        for column in table.columns:
            if column.name not in names and not column.nullable:
                free = SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL")
                cursor.execute(free.format(Identifier("pg_temp", name), Identifier(column.name)))
    text = StringIO("".join(_line(row, names, json) for row in rows))
    incoming = SQL("{}").format(Identifier("pg_temp", name))
    statement = SQL("COPY {} ({}) FROM STDIN").format(incoming, SQL(", ").join(map(Identifier, names)))
    cursor.copy_expert(statement.as_string(cursor), text)
    return incoming


def _line(row: Row, names: Sequence[str], json: frozenset[str]) -> str:
    return "\t".join([_field(row[name], name in json) for name in names]) + "\n"


def _field(value: Any, is_json: bool) -> str:  # noqa: PLR0911  # a table: one line a type
    match value:
        case None:
            return "\\N"
        case Encoded():
            return _escaped(value)
        case str() if not is_json:
            return _escaped(clean(value)) if _SPECIAL.search(value) else value
        case datetime():
            return value.isoformat()
        case bool() if not is_json:
            return "t" if value else "f"
        case int() | float() if not is_json:
            return str(value)
        case _:
            return _escaped(to_json(value))


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
