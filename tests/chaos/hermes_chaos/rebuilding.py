"""The history made again out of the stream, every event twice and in any order: it has to become the same."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # psycopg2 spells its classes in lower case
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from hermes_bookkeeper.adapters import books, chain
from hermes_bookkeeper.adapters.migrate import migrate
from hermes_bookkeeper.core.facts import read
from hermes_chaos.fleet import Fleet
from hermes_common import ledger, subjects
from hermes_common.auditchain import NO_KEY
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.settings import RuntimeSettings

BATCH = 200
NOT_SAID = frozenset({"recorded_at", "number"})
"""Columns that no event says: the instant of recording, and numbers given by the database."""


CHAIN = frozenset({"sequence", "previous", "hash", "key_id", "adopted"})
"""Columns of the audit that follow the order in which its rows were taken down."""
OUTBOX = frozenset({"alert_news", "alert_messages"})
"""Tables of what people are told: they follow the clock and the channels, not the events alone."""


def differences(fleet: Fleet, chance: random.Random) -> list[str]:
    """Return which tables differ; a second database is made for it, and dropped. The bookkeepers must be idle."""
    url = make_url(fleet.postgres.url)
    again = url.set(database="again")
    admin = _connect(make_url(fleet.postgres.superuser_url))
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS again WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE again OWNER {url.username}")
        migrate(SecretStr(again.render_as_string(hide_password=False)))
        messages = asyncio.run(_messages(fleet.environment["HERMES_NATS_URL"]))
        facts = [read(*message) for message in messages]
        several = [*facts, *facts]
        chance.shuffle(several)
        rebuilt = _connect(again)
        try:
            for start in range(0, len(several), BATCH):
                with rebuilt, rebuilt.cursor() as cursor:
                    books.record(cursor, several[start : start + BATCH], datetime.now(UTC))
            present = _connect(url)
            try:
                return _compare(present, rebuilt, max(fact.seq for fact in facts))
            finally:
                present.close()
        finally:
            rebuilt.close()
            with admin.cursor() as cursor:
                cursor.execute("DROP DATABASE again WITH (FORCE)")
    finally:
        admin.close()


async def _messages(nats_url: str) -> list[tuple[str, Any, bytes, int]]:
    bus = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), "chaos")
    bus.start()
    try:
        await asyncio.wait_for(bus.ready(), 20)
        stored = bus.read(subjects.EVENTS, subjects.EVENTS_ALL, 0)
        return [(each.subject, each.headers, each.data, each.sequence) async for each in stored]
    finally:
        await bus.close()


def _connect(url: Any) -> Connection:
    return psycopg2.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database, connect_timeout=5
    )


def _compare(present: Connection, rebuilt: Connection, last: int) -> list[str]:
    """Compare what both have of the events up to ``last``: a bookkeeper says how long the audit is at any time."""
    found = []
    for table in ledger.metadata.sorted_tables:
        if table.name in OUTBOX or table is ledger.audit_chain:
            continue
        left = NOT_SAID | CHAIN if table is ledger.audit else NOT_SAID
        names = ", ".join(f'"{column.name}"' for column in table.columns if column.name not in left)
        statement = f"SELECT {names} FROM {ledger.SCHEMA}.{table.name}"  # noqa: S608  # our tables
        if table is ledger.events:
            statement += f" WHERE seq <= {last}"
        rows = []
        for connection in (present, rebuilt):
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                rows.append({repr(row) for row in cursor.fetchall()})
        gone, new = rows[0] - rows[1], rows[1] - rows[0]
        if gone or new:
            examples = [*sorted(gone)[:2], *sorted(new)[:2]]
            found.append(f"{table.name}: {len(gone)} rows only live, {len(new)} only rebuilt: " + " | ".join(examples))
    with rebuilt, rebuilt.cursor() as cursor:
        report = chain.verify(cursor, NO_KEY, None, datetime.now(UTC))
    if report.state != "whole":
        found.append(f"the chain of the audit that was made again is {report.words}")
    return found
