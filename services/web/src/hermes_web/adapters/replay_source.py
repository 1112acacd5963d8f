"""The series of the history as the replay of rules wants them: only the values that its conditions ask about.

PostgreSQL takes the values out of the tags and sends them as COPY, one line a series: its UID, the time at which it was
decided, and then the key, one column for each value. Whatever differs in other tags is the same key.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg2.extensions
from psycopg2 import sql

from hermes_common.rules.explanation import Tags
from hermes_common.rules.facts import received_facts
from hermes_common.rules.replay import Needs

Connection = psycopg2.extensions.connection

STEP = 900
"""Seconds to which the time of reception is cut: every zone's hours begin at a multiple of it."""

_RECEIVED = frozenset({"received.hour", "received.weekday"})
_FACTS = {
    "source.aet": "calling_aet",
    "source.called_aet": "called_aet",
    "source.ip": "address",
    "series.instances": "instances",
    "series.bytes": "octets",
}
_NULL = b"\\N"


@dataclass(frozen=True, slots=True)
class Window:
    """Series that were decided and last received from ``since`` up to, not including, ``until``."""

    since: datetime
    until: datetime


class Lines:
    """The file that COPY writes to: a call for each line."""

    def __init__(self, take: Callable[[str, float, bytes], None]) -> None:
        self._take = take

    def write(self, line: bytes) -> int:
        """Take one line."""
        uid, at, key = line.split(b"\t", 2)
        self._take(uid.decode(), float(at), key)
        return len(line)


def copy_series(
    connection: Connection, needs: Needs, window: Window, part: int, parts: int, take: Callable[[str, float, bytes], None]
) -> None:
    """Call ``take`` with UID, time of the decision and key of each series of one of ``parts`` equal parts."""
    with connection.cursor() as cursor:
        cursor.copy_expert(_statement(needs, window, part, parts), Lines(take), size=65536)


def reader(needs: Needs) -> Callable[[bytes], Tags]:
    """Return the function that turns a key into fields."""
    names = _columns(needs)

    def read(key: bytes) -> Tags:
        tags: dict[str, list[str]] = {}
        for (name, _), column in zip(names, key.rstrip(b"\n").split(b"\t"), strict=True):
            if column == _NULL:
                continue
            values = json.loads(column.replace(b"\\\\", b"\\") if b"\\" in column else column)
            if name == "received":
                tags.update(received_facts(datetime.fromtimestamp(values).astimezone()))
            else:
                tags[name] = values
        return tags

    return read


def _statement(needs: Needs, window: Window, part: int, parts: int) -> sql.Composed:
    columns = sql.SQL(", ").join([column for _, column in _columns(needs)])
    return sql.SQL(
        "COPY (SELECT series_uid, extract(epoch from decided_at)::float8, {columns} FROM "
        "(SELECT *, tags || '{{}}'::jsonb AS t FROM ledger.series "
        "WHERE {within} AND mod(abs(hashtext(series_uid)::bigint), {parts}) = {part} OFFSET 0) AS found) TO STDOUT"
    ).format(columns=columns, within=_within(window), parts=sql.Literal(parts), part=sql.Literal(part))


def _within(window: Window) -> sql.Composable:
    return sql.SQL("last_received_at >= {since} AND last_received_at < {until} AND decided_at IS NOT NULL").format(
        since=sql.Literal(window.since), until=sql.Literal(window.until)
    )


def _columns(needs: Needs) -> list[tuple[str, sql.Composable]]:
    """Return each field with the expression for its values, as a JSON array or NULL; never none at all."""
    found: list[tuple[str, sql.Composable]] = []
    if not _RECEIVED.isdisjoint(needs.fields):
        found.append(
            ("received", sql.SQL(f"(floor(extract(epoch from last_received_at) / {STEP}) * {STEP})::bigint"))
        )
    for name in needs.fields:
        if name in _FACTS:
            found.append((name, sql.SQL(f"jsonb_build_array({_FACTS[name]}::text)")))
        elif name not in _RECEIVED:
            found.append((name, sql.SQL("t->{name}").format(name=sql.Literal(name))))
    for name in needs.sequences:
        exists = "CASE WHEN EXISTS (SELECT FROM jsonb_object_keys(t) AS k WHERE starts_with(k, {name})) THEN '[]' END"
        found.append((f"{name}.", sql.SQL(exists).format(name=sql.Literal(f"{name}."))))
    return found or [("", sql.SQL("NULL::text"))]

