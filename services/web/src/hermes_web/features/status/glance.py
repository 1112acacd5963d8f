"""What the overview shows besides the state of the whole: hours, sources, targets, changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, select

from hermes_common.ledger import associations, config_changes, deliveries, quarantine, series
from hermes_common.runtime.clock import now
from hermes_web.features.paging import View
from hermes_web.features.status.queries import WAITING

HOURS = 24
WEEK = timedelta(days=7)
_MOST = 24


class Hours(View):
    """How often something happened in each of the last 24 hours, the oldest first."""

    received: list[int]
    delivered: list[int]
    failed: list[int]
    unmatched: list[int]
    quarantined: list[int]


class SourceGlance(View):
    """One sender: when it was last here, what it sent in the last hour and usually sends in one."""

    calling_aet: str
    last_seen: datetime
    last_hour: int
    usual: float
    """Instances an hour, over the last seven days."""
    rejected: int
    """Associations of the last day that were rejected."""


class TargetGlance(View):
    """One target: what its deliveries of the last day came to. ``p95`` is from decided to delivered."""

    target: str
    delivered: int = 0
    failed: int = 0
    p95: timedelta | None = None


class Change(View):
    """A revision of a configuration document."""

    kind: str
    revision: int
    author: str
    comment: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Glance:
    """All of it."""

    hours: Hours
    sources: Sequence[SourceGlance]
    targets: Mapping[str, TargetGlance]
    changes: Sequence[Change]


def glance(connection: Connection) -> Glance:
    """Return what the overview shows of the history."""
    return Glance(_hours(connection), _sources(connection), _targets(connection), _changes(connection))


def _hours(connection: Connection) -> Hours:
    ended = (deliveries.c.state == "succeeded", deliveries.c.state == "failed")
    return Hours(
        received=_by_hour(connection, series.c.last_received_at),
        delivered=_by_hour(connection, deliveries.c.updated_at, ended[0]),
        failed=_by_hour(connection, deliveries.c.updated_at, ended[1]),
        unmatched=_by_hour(connection, series.c.last_received_at, series.c.state == "unmatched"),
        quarantined=_by_hour(connection, quarantine.c.received_at),
    )


def _by_hour(connection: Connection, at: ColumnElement[datetime], *conditions: ColumnElement[bool]) -> list[int]:
    end = now()
    since = end - timedelta(hours=HOURS)
    hour = func.floor(func.extract("epoch", at - since) / 3600)
    rows = connection.execute(select(hour, func.count()).where(at >= since, *conditions).group_by(hour))
    counts = [0] * HOURS
    for number, count in rows:
        counts[min(int(number), HOURS - 1)] += count
    return counts


def _sources(connection: Connection) -> list[SourceGlance]:
    table, at = associations, now()
    last_hour = func.coalesce(func.sum(table.c.instances).filter(table.c.opened_at >= at - timedelta(hours=1)), 0)
    rejected = func.count().filter(table.c.state == "rejected", table.c.opened_at >= at - timedelta(days=1))
    query = (
        select(
            table.c.calling_aet,
            func.max(table.c.opened_at).label("last_seen"),
            last_hour.label("last_hour"),
            (func.sum(table.c.instances) / (WEEK.total_seconds() / 3600)).label("usual"),
            rejected.label("rejected"),
        )
        .where(table.c.opened_at >= at - WEEK)
        .group_by(table.c.calling_aet)
        .order_by(func.max(table.c.opened_at).desc())
        .limit(_MOST)
    )
    return [SourceGlance.model_validate(row) for row in connection.execute(query)]


def _targets(connection: Connection) -> dict[str, TargetGlance]:
    table = deliveries
    took = func.extract("epoch", table.c.ended_at - table.c.queued_at)
    good = table.c.state == "succeeded"
    rows = connection.execute(
        select(
            table.c.target,
            func.count().filter(good).label("delivered"),
            func.count().filter(table.c.state == "failed").label("failed"),
            func.percentile_cont(0.95).within_group(took).filter(good).label("p95"),
        )
        .where(table.c.updated_at >= now() - timedelta(days=1), table.c.state.in_(("succeeded", "failed", *WAITING)))
        .group_by(table.c.target)
    )
    found = {}
    for row in rows:
        p95 = None if row.p95 is None else timedelta(seconds=float(row.p95))
        found[row.target] = TargetGlance.model_validate({**row._mapping, "p95": p95})
    return found


def _changes(connection: Connection) -> list[Change]:
    query = select(config_changes).order_by(config_changes.c.time.desc()).limit(6)
    return [Change.model_validate(row) for row in connection.execute(query)]
