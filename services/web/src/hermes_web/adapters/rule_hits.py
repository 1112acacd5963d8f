"""How often rules fired lately, counted from the decisions of the history: at most once a minute for everybody."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from hermes_common.runtime.clock import now
from hermes_web.adapters.database import Database

WEEK = timedelta(days=7)
DAY = timedelta(days=1)
AGE = timedelta(minutes=1)
MOST_SAMPLES = 50

_COUNT = text("""
SELECT rule->>'slug' AS slug, rule->>'status' AS status, max(d.decided_at) AS last,
       count(DISTINCT d.series_uid) FILTER (WHERE d.decided_at >= :day) AS day, count(DISTINCT d.series_uid) AS week
  FROM ledger.series AS s
  JOIN ledger.decisions AS d ON d.series_uid = s.series_uid,
       jsonb_path_query(d.decision, '$.rules[*] ? (@.status == "fired" || @.status == "would_fire" ||
                                                   @.status == "failed")') AS rule
 WHERE s.last_received_at >= :week AND d.decided_at >= :week
 GROUP BY 1, 2
""")
_WOULD = text("""
SELECT s.series_uid, s.modality, s.series_description, s.study_description, s.calling_aet, s.state, d.decided_at,
       rule->'targets' AS targets, rule->>'action' AS action, d.revision
  FROM ledger.series AS s
  JOIN ledger.decisions AS d ON d.series_uid = s.series_uid,
       jsonb_path_query(d.decision, '$.rules[*] ? (@.slug == $slug && @.status == "would_fire")',
                        jsonb_build_object('slug', CAST(:slug AS text))) AS rule
 WHERE s.last_received_at >= :week
 ORDER BY d.decided_at DESC
 LIMIT :most
""")


@dataclass(slots=True)
class Hits:
    """Of one rule in the last week: series that it fired for, that it would have fired for, and that it failed at."""

    day: int = 0
    week: int = 0
    would: int = 0
    failed: int = 0
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Hits by the slug of the rule, and when they were counted."""

    hits: dict[str, Hits]
    at: datetime


@dataclass(slots=True)
class RuleHits:
    """Counts, and remembers for a minute what was counted."""

    database: Database
    _counted: Counted | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def counted(self) -> Counted:
        """Return the hits of every rule; raise :class:`UnavailableError` if they cannot be counted in time."""
        async with self._lock:
            found = self._counted
            if found is None or now() - found.at > AGE:
                found = self._counted = await self.database.run(_count, now())
            return found

    async def would_have_sent(self, slug: str) -> list[dict[str, object]]:
        """Return the newest series of the last week for which a dry run would have fired, and where to."""
        return await self.database.run(_would, slug, now())


def _count(connection: Connection, at: datetime) -> Counted:
    hits: dict[str, Hits] = {}
    for row in connection.execute(_COUNT, {"week": at - WEEK, "day": at - DAY}):
        own = hits.setdefault(row.slug, Hits())
        match row.status:
            case "failed":
                own.failed = row.week
            case "would_fire":
                own.would = row.week
                own.last = max(filter(None, (own.last, row.last)), default=None)
            case _:
                own.day, own.week = row.day, row.week
                own.last = max(filter(None, (own.last, row.last)), default=None)
    return Counted(hits, at)


def _would(connection: Connection, slug: str, at: datetime) -> list[dict[str, object]]:
    rows = connection.execute(_WOULD, {"week": at - WEEK, "slug": slug, "most": MOST_SAMPLES})
    return [dict(row._mapping) for row in rows]
