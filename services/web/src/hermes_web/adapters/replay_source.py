"""The series of the history as the replay of rules wants them: only the values that its conditions ask about.

PostgreSQL takes the values out of the tags and sends them as COPY, one line a series: its UID, the time at which it was
decided, and then the columns.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg2.extensions
from psycopg2 import sql

from hermes_common.rules.explanation import Tags
from hermes_common.rules.facts import received_facts
from hermes_common.rules.replay import Column, Needs

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
_TIME = "received"
_NULL = b"\\N"


@dataclass(frozen=True, slots=True)
class Window:
    """Series that were decided and last received from ``since`` up to, not including, ``until``."""

    since: datetime
    until: datetime


class Lines:
    """The file that COPY writes to: a call for each line."""

    def __init__(self, take: Callable[[str, float, list[bytes]], None]) -> None:
        self._take = take

    def write(self, line: bytes) -> int:
        """Take one line."""
        uid, at, *values = line[:-1].split(b"\t")
        self._take(uid.decode(), float(at), values)
        return len(line)


def copy_series(
    connection: Connection,
    needs: Needs,
    window: Window,
    part: int,
    parts: int,
    take: Callable[[str, float, list[bytes]], None],
) -> None:
    """Call ``take`` with UID, time of the decision and columns of each series of one of ``parts`` equal parts."""
    with connection.cursor() as cursor:
        cursor.copy_expert(_statement(needs, window, part, parts), Lines(take), size=65536)


def columns(needs: Needs) -> list[Column]:
    """Return the columns in the order in which :func:`copy_series` gives them."""
    return [
        Column(tuple(sorted(_RECEIVED)), _read_received) if name == _TIME else Column((name,), _reader(name))
        for name, _ in _columns(needs)
    ]


def _reader(name: str) -> Callable[[bytes], Tags]:
    def read(value: bytes) -> Tags:
        return {} if value == _NULL else {name: json.loads(value.replace(b"\\\\", b"\\"))}

    return read


def _read_received(value: bytes) -> Tags:
    return received_facts(datetime.fromtimestamp(int(value)).astimezone())


def _statement(needs: Needs, window: Window, part: int, parts: int) -> sql.Composed:
    wanted = sql.SQL(", ").join([column for _, column in _columns(needs)])
    return sql.SQL(
        "COPY (SELECT series_uid, extract(epoch from decided_at)::float8, {columns} FROM "
        "(SELECT *, tags || '{{}}'::jsonb AS t FROM ledger.series "
        "WHERE {within} AND mod(abs(hashtext(series_uid)::bigint), {parts}) = {part} OFFSET 0) AS found) TO STDOUT"
    ).format(columns=wanted, within=_within(window), parts=sql.Literal(parts), part=sql.Literal(part))


def _within(window: Window) -> sql.Composable:
    return sql.SQL("last_received_at >= {since} AND last_received_at < {until} AND decided_at IS NOT NULL").format(
        since=sql.Literal(window.since), until=sql.Literal(window.until)
    )


def _columns(needs: Needs) -> list[tuple[str, sql.Composable]]:
    """Return each field with the expression for its values, as a JSON array or NULL; never none at all."""
    found: list[tuple[str, sql.Composable]] = []
    if not _RECEIVED.isdisjoint(needs.fields):
        found.append((_TIME, sql.SQL(f"(floor(extract(epoch from last_received_at) / {STEP}) * {STEP})::bigint")))
    for name in needs.fields:
        if name in _FACTS:
            found.append((name, sql.SQL(f"jsonb_build_array({_FACTS[name]}::text)")))
        elif name not in _RECEIVED:
            found.append((name, sql.SQL("t->{name}").format(name=sql.Literal(name))))
    for name in needs.sequences:
        exists = "CASE WHEN EXISTS (SELECT FROM jsonb_object_keys(t) AS k WHERE starts_with(k, {name})) THEN '[]' END"
        found.append((f"{name}.", sql.SQL(exists).format(name=sql.Literal(f"{name}."))))
    return found or [("", sql.SQL("NULL::text"))]
