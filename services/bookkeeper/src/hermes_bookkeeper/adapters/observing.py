"""What the history says about conditions that no event says (``core.watching``)."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.core.rhythm import WINDOW
from hermes_bookkeeper.core.watching import FAILURES, Failing, History, Key, Late, OpenAlert
from hermes_common.alerting import WATCHED, AlertKind
from hermes_common.events import DeliveryRestarted

MOST: Final = 2000
"""Deliveries and open alerts that are looked at."""
VISIT: Final = timedelta(minutes=10)

_LATE = """
SELECT target, count(*), min(since) FROM (
    SELECT w.target, greatest(w.queued_at, (
        SELECT max(time) FROM ledger.events e WHERE e.delivery_id = w.delivery_id AND e.type = %s)) AS since
    FROM (
        SELECT target, delivery_id, queued_at FROM ledger.deliveries
        WHERE state IN ('queued', 'sending', 'retrying') AND priority <> 'off_peak' AND target = ANY(%s)
        AND queued_at < %s ORDER BY queued_at LIMIT %s) AS w) AS late
WHERE since < %s GROUP BY target"""
_WAITING = """
SELECT target, count(*), min(queued_at) FROM ledger.deliveries
WHERE state IN ('queued', 'sending', 'retrying') GROUP BY target LIMIT 1000"""
_LAST = """
SELECT calling_aet, max(greatest(opened_at, closed_at)) FROM ledger.associations
WHERE opened_at > %s AND (instances > 0 OR (state = 'opened' AND opened_at > %s))
GROUP BY calling_aet ORDER BY 1 LIMIT 5000"""
_VISITS = """
SELECT calling_aet, array_agg(DISTINCT to_timestamp(floor(extract(epoch FROM opened_at) / %s) * %s))
FROM ledger.associations WHERE opened_at > %s AND instances > 0 GROUP BY calling_aet ORDER BY 1 LIMIT 5000"""
_QUARANTINED = (
    "SELECT calling_aet, count(*) FROM ledger.quarantine WHERE received_at > %s GROUP BY 1 ORDER BY 1 LIMIT 500"
)
_FAILING = """
SELECT channel, max(attempt), (array_agg(reason ORDER BY attempt DESC))[1] FROM ledger.alert_messages
WHERE (state = 'waiting' AND attempt >= %s) OR (state = 'failed' AND ended_at > %s) GROUP BY channel"""
_OPEN = "SELECT alert_id, kind, about FROM ledger.alerts WHERE cleared_at IS NULL AND kind = ANY(%s) LIMIT %s"
_COUNTS = "SELECT kind, about, count(*) FROM ledger.alerts WHERE kind = ANY(%s) GROUP BY kind, about"


def late(cursor: Cursor, targets: Collection[str], before: datetime) -> list[Late]:
    """Return the deliveries that have waited since ``before``, by target, without those for off-peak hours."""
    cursor.execute(_LATE, [DeliveryRestarted.type(), list(targets), before, MOST, before])
    return [Late(*row) for row in cursor]


def last_sent(cursor: Cursor, since: datetime, now: datetime) -> dict[str, datetime]:
    """Return when each sender last sent something, of those whose association was opened after ``since``."""
    cursor.execute(_LAST, [since, now - timedelta(hours=1)])
    found: dict[str, datetime] = {}
    for aet, last in cursor:  # an AE title may come with and without its padding
        if name := aet.strip():
            found[name] = max(last, found.get(name, last))
    return found


def visits(cursor: Cursor, now: datetime) -> dict[str, list[datetime]]:
    """Return the spans of ten minutes in which each sender sent something, by when they began."""
    seconds = VISIT.total_seconds()
    cursor.execute(_VISITS, [seconds, seconds, now - 2 * WINDOW])
    found: dict[str, list[datetime]] = {}
    for aet, times in cursor:
        if name := aet.strip():
            found.setdefault(name, []).extend(times)
    return found


def quarantined(cursor: Cursor, since: datetime) -> dict[str, int]:
    """Return how many instances of each sender went into quarantine since then."""
    cursor.execute(_QUARANTINED, [since])
    found: dict[str, int] = {}
    for aet, count in cursor:
        found[aet.strip()] = found.get(aet.strip(), 0) + count
    return found


def failing(cursor: Cursor, since: datetime) -> list[Failing]:
    """Return the channels that do not take their messages."""
    cursor.execute(_FAILING, [FAILURES, since])
    return [Failing(*row) for row in cursor]


def open_alerts(cursor: Cursor) -> tuple[list[OpenAlert], dict[Key, int]]:
    """Return the open alerts that looking may change or that it depends on, and how many there ever were."""
    kinds = sorted({*WATCHED, AlertKind.TARGET_DOWN})
    cursor.execute(_OPEN, [kinds, MOST])
    found = [OpenAlert(*row) for row in cursor]
    cursor.execute(_COUNTS, [kinds])
    return found, {(kind, about): count for kind, about, count in cursor}


def waiting(cursor: Cursor) -> dict[str, tuple[int, datetime]]:
    """Return the deliveries that have not ended by target, and when the oldest of them was queued."""
    cursor.execute(_WAITING)
    return {target: (count, oldest) for target, count, oldest in cursor}


def open_by_kind(cursor: Cursor) -> dict[str, int]:
    """Return how many alerts of each kind are open."""
    cursor.execute("SELECT kind, count(*) FROM ledger.alerts WHERE cleared_at IS NULL GROUP BY kind")
    return dict(cursor.fetchall())


class SqlObserver:
    """The history as the handler sees it: every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, targets: Sequence[str], before: datetime | None, since: datetime, now: datetime) -> History:
        """Return what holds now. ``before``: deliveries that wait since then are late, None: none is; ``since``: how
        far back senders are looked for.
        """
        hour_ago = now - timedelta(hours=1)

        def work(cursor: Cursor) -> History:
            return History(
                [] if before is None else late(cursor, targets, before),
                last_sent(cursor, since, now),
                quarantined(cursor, hour_ago),
                failing(cursor, hour_ago),
                *open_alerts(cursor),
                waiting(cursor),
                open_by_kind(cursor),
            )

        return await self._database.run(work)

    async def visits(self, now: datetime) -> dict[str, list[datetime]]:
        """Return when each sender sent."""
        return await self._database.run(lambda cursor: visits(cursor, now))
