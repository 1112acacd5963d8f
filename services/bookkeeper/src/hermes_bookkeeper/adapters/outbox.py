"""The outbox of alerts: news that has to be told, and messages to channels, in PostgreSQL.

A message is claimed under the lock of all bookkeepers and held by a lease, so that two of them never send it at the
same time. One that ends between sending and writing that down sends it again: at least once. Attempts are counted
before they are made.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.extras import execute_values

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.core.letters import Message
from hermes_bookkeeper.core.telling import (
    CLEARED,
    FAILED,
    RAISED,
    REMINDER,
    SENT,
    TOO_OLD,
    WAITING,
    WITHDRAWN,
    Alert,
    Later,
    NewMessage,
    News,
    Open,
    Tell,
    Told,
    decide,
    reminders,
    within_room,
)
from hermes_bookkeeper.core.text import clean
from hermes_common.alerting import Alerting

LOCK: Final = 0x4865726D6574  # the lock of the books, plus one
LEASE: Final = timedelta(seconds=90)
"""Longer than any attempt may take (``adapters.sending``)."""
AT_ONCE: Final = 100
"""Messages in one letter, and pieces of news decided in one transaction."""
KEPT: Final = timedelta(days=30)

_ALERT = "a.alert_id, a.kind, a.about, a.severity, a.message, a.reason, a.raised_at, a.cleared_at"
_DUE = """
SELECT event_id, alert_id, what, time FROM ledger.alert_news
WHERE done_at IS NULL AND look_at <= %s ORDER BY look_at, time LIMIT %s"""
_DUE_MESSAGES = """
SELECT channel, count(*) FROM ledger.alert_messages WHERE state = 'waiting' AND next_at <= %s GROUP BY channel"""
_OPEN = f"""
SELECT {_ALERT}, m.channel, max(m.ended_at), count(*) FILTER (WHERE m.what = %s)
FROM ledger.alert_messages m JOIN ledger.alerts a USING (alert_id)
WHERE a.cleared_at IS NULL AND m.channel = ANY(%s) AND m.what IN (%s, %s)
GROUP BY {_ALERT}, m.channel HAVING bool_and(m.state = %s) LIMIT 1000"""  # noqa: S608  # names of ours
_CLAIM = f"""
UPDATE ledger.alert_messages m SET attempt = attempt + 1, leased_until = %s
FROM ledger.alerts a
WHERE a.alert_id = m.alert_id AND message_id IN (
    SELECT message_id FROM ledger.alert_messages
    WHERE channel = %s AND state = 'waiting' AND next_at <= %s ORDER BY created_at, message_id LIMIT %s FOR UPDATE)
AND NOT EXISTS (SELECT 1 FROM ledger.alert_messages WHERE channel = %s AND leased_until > %s)
RETURNING m.message_id, m.what, m.attempt, m.created_at, {_ALERT}"""  # noqa: S608  # names of ours


def tell(cursor: Cursor, alerting: Alerting, now: datetime) -> int:
    """Decide about news that is due and about reminders; return how many pieces of news were looked at."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    cursor.execute(_DUE, [now, AT_ONCE])
    due = cursor.fetchall()
    alerts = _alerts(cursor, {row[1] for row in due})
    waiting = _waiting(cursor)
    for event_id, alert_id, what, time in due:
        told = _told(cursor, alert_id)
        decided = decide(News(event_id, what, time), alerts.get(alert_id), told, alerting, now)
        match decided:
            case Later(look_at):
                cursor.execute("UPDATE ledger.alert_news SET look_at = %s WHERE event_id = %s", [look_at, event_id])
            case Tell(outcome, messages, withdraw):
                _add(cursor, messages, waiting, now)
                _end(cursor, withdraw, WITHDRAWN, "it was over before it was sent", now)
                cursor.execute(
                    "UPDATE ledger.alert_news SET done_at = %s, outcome = %s WHERE event_id = %s",
                    [now, outcome, event_id],
                )
    reminded = [channel.slug for channel in alerting.channels if channel.reminder is not None]
    if reminded:
        cursor.execute(_OPEN, [REMINDER, reminded, RAISED, REMINDER, SENT])
        opened = [Open(Alert(*row[:8]), *row[8:]) for row in cursor.fetchall()]
        _add(cursor, reminders(opened, alerting, now), waiting, now)
    return len(due)


def claim(cursor: Cursor, channel: str, now: datetime) -> list[Message]:
    """Return the messages to send over a channel now, held for :data:`LEASE`; none while somebody else sends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    cursor.execute(_CLAIM, [now + LEASE, channel, now, AT_ONCE, channel, now])
    rows = sorted(cursor.fetchall(), key=lambda row: (row[3], row[1] != RAISED, row[0]))
    return [Message(row[0], row[1], row[2], Alert(*row[4:])) for row in rows]


def due_on_channels(cursor: Cursor, now: datetime) -> dict[str, int]:
    """Return how many messages are to be sent over each channel now."""
    cursor.execute(_DUE_MESSAGES, [now])
    return dict(cursor.fetchall())


def sent(cursor: Cursor, message_ids: Sequence[str], now: datetime) -> None:
    """Note that messages were taken."""
    _end(cursor, message_ids, SENT, "", now)


def not_sent(cursor: Cursor, channel: str, messages: Sequence[Message], reason: str, again: datetime) -> None:
    """Note that messages were not taken: the whole channel rests until ``again``; the oldest have failed."""
    ids = [message.message_id for message in messages]
    cursor.execute(
        "UPDATE ledger.alert_messages SET leased_until = NULL, reason = %s WHERE message_id = ANY(%s)", [reason, ids]
    )
    cursor.execute(
        "UPDATE ledger.alert_messages SET next_at = greatest(next_at, %s) WHERE channel = %s AND state = 'waiting'",
        [again, channel],
    )
    cursor.execute(
        "UPDATE ledger.alert_messages SET state = %s, ended_at = %s "
        "WHERE channel = %s AND state = 'waiting' AND created_at < %s AND attempt > 0",
        [FAILED, again, channel, again - TOO_OLD],
    )


def withdraw_others(cursor: Cursor, channels: Collection[str], now: datetime) -> None:
    """Withdraw what waits for a channel that is not there any more, or was disabled."""
    cursor.execute(
        "UPDATE ledger.alert_messages SET state = %s, reason = %s, ended_at = %s "
        "WHERE state = 'waiting' AND NOT channel = ANY(%s)",
        [WITHDRAWN, "the channel was removed or disabled", now, list(channels)],
    )


def forget(cursor: Cursor, now: datetime) -> None:
    """Delete what ended long ago."""
    cursor.execute("DELETE FROM ledger.alert_messages WHERE ended_at < %s", [now - KEPT])
    cursor.execute("DELETE FROM ledger.alert_news WHERE done_at < %s AND time < %s", [now - KEPT, now - 2 * TOO_OLD])


def _alerts(cursor: Cursor, alert_ids: Collection[str]) -> dict[str, Alert]:
    cursor.execute(f"SELECT {_ALERT} FROM ledger.alerts a WHERE alert_id = ANY(%s)", [list(alert_ids)])  # noqa: S608  # ours
    return {row[0]: Alert(*row) for row in cursor}


def _told(cursor: Cursor, alert_id: str) -> list[Told]:
    cursor.execute(
        "SELECT message_id, channel, what, state, attempt FROM ledger.alert_messages "
        "WHERE alert_id = %s AND what <> %s ORDER BY created_at",
        [alert_id, CLEARED],
    )
    return [Told(*row) for row in cursor]


def _waiting(cursor: Cursor) -> dict[str, int]:
    cursor.execute("SELECT channel, count(*) FROM ledger.alert_messages WHERE state = %s GROUP BY channel", [WAITING])
    return dict(cursor.fetchall())


def _add(cursor: Cursor, messages: Sequence[NewMessage], waiting: dict[str, int], now: datetime) -> None:
    rows: list[list[Any]] = []
    for message in messages:
        waiting[message.channel] = waiting.get(message.channel, 0) + 1
        made = within_room(message, waiting[message.channel] - 1)
        ended = now if made.state == FAILED else None
        key = [made.message_id, made.alert_id, made.channel, made.what]
        rows.append([*key, made.state, made.reason, now, made.next_at, ended])
    if rows:
        execute_values(
            cursor,
            "INSERT INTO ledger.alert_messages (message_id, alert_id, channel, what, state, reason, created_at, "
            "next_at, ended_at) VALUES %s ON CONFLICT DO NOTHING",
            rows,
        )


def _end(cursor: Cursor, message_ids: Sequence[str], state: str, reason: str, now: datetime) -> None:
    if message_ids:
        cursor.execute(
            "UPDATE ledger.alert_messages SET state = %s, reason = %s, ended_at = %s, leased_until = NULL "
            "WHERE message_id = ANY(%s)",
            [state, reason, now, list(message_ids)],
        )


class SqlOutbox:
    """The outbox as the handler sees it: every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tell(self, alerting: Alerting, now: datetime) -> dict[str, int]:
        """Decide about news; return how many messages are due on each channel, and withdraw those of no channel."""

        def work(cursor: Cursor) -> dict[str, int]:
            tell(cursor, alerting, now)
            withdraw_others(cursor, [channel.slug for channel in alerting.channels if channel.enabled], now)
            return due_on_channels(cursor, now)

        return await self._database.run(work)

    async def claim(self, channel: str, now: datetime) -> list[Message]:
        """Return what to send over a channel now."""
        return await self._database.run(lambda cursor: claim(cursor, channel, now))

    async def sent(self, messages: Sequence[Message], now: datetime) -> None:
        """Note that messages were taken."""
        ids = [message.message_id for message in messages]
        await self._database.run(lambda cursor: sent(cursor, ids, now))

    async def not_sent(self, channel: str, messages: Sequence[Message], reason: str, again: datetime) -> None:
        """Note that messages were not taken, and when the channel is tried again."""
        await self._database.run(lambda cursor: not_sent(cursor, channel, messages, clean(reason), again))

    async def forget(self, now: datetime) -> None:
        """Delete what ended long ago."""
        await self._database.run(lambda cursor: forget(cursor, now))
