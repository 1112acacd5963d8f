"""What the history says about the whole: queues, totals, services, open alerts."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from hermes_common.ledger import alerts, deliveries, quarantine, series, services
from hermes_common.runtime.clock import now
from hermes_web.features.alerts.queries import AlertsItem
from hermes_web.features.paging import View

WAITING = ("queued", "sending", "retrying", "held")


class Queue(View):
    """What waits for one target. ``oldest`` is when the delivery that waits longest was queued."""

    target: str
    counts: dict[str, int]
    oldest: datetime | None = None

    @property
    def waiting(self) -> int:
        """Deliveries that have not ended."""
        return sum(self.counts.get(state, 0) for state in WAITING)


class Totals(View):
    """What happened in a span of time."""

    series: int
    instances: int
    unmatched: int
    delivered: int
    failed: int
    quarantined: int


class ServiceRow(View):
    """A process of a service, as its events say."""

    instance: str
    service: str
    version: str
    state: str
    reason: str
    started_at: datetime | None = None
    ended_at: datetime | None = None


def queues(connection: Connection) -> list[Queue]:
    """Return the queue of every target that has any delivery waiting or failed."""
    table = deliveries
    rows = connection.execute(
        select(table.c.target, table.c.state, func.count(), func.min(table.c.queued_at))
        .where(table.c.state.in_((*WAITING, "failed")))
        .group_by(table.c.target, table.c.state)
        .order_by(table.c.target)
    )
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, datetime] = {}
    for target, state, count, queued_at in rows:
        counts.setdefault(target, {})[state] = count
        if state in WAITING:
            oldest[target] = min(queued_at, oldest.get(target, queued_at))
    return [Queue(target=target, counts=found, oldest=oldest.get(target)) for target, found in counts.items()]


def totals(connection: Connection, span: timedelta) -> Totals:
    """Return what happened in the last ``span``."""
    since = now() - span
    received = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(series.c.instances), 0),
            func.count().filter(series.c.state == "unmatched"),
        ).where(series.c.last_received_at >= since)
    ).one()
    rows = connection.execute(
        select(deliveries.c.state, func.count())
        .where(deliveries.c.state.in_(("succeeded", "failed")), deliveries.c.updated_at >= since)
        .group_by(deliveries.c.state)
    )
    ended: dict[str, int] = dict(iter(rows))
    aside = connection.execute(
        select(func.count()).select_from(quarantine).where(quarantine.c.received_at >= since)
    ).scalar_one()
    return Totals(
        series=received[0],
        instances=received[1],
        unmatched=received[2],
        delivered=ended.get("succeeded", 0),
        failed=ended.get("failed", 0),
        quarantined=aside,
    )


def running_services(connection: Connection) -> list[ServiceRow]:
    """Return the processes that run, or ended within the last day."""
    recent = (services.c.state == "started") | (services.c.ended_at > now() - timedelta(days=1))
    rows = connection.execute(
        select(services).where(recent).order_by(services.c.service, services.c.started_at.desc()).limit(100)
    )
    return [ServiceRow.model_validate(row) for row in rows]


def open_alerts(connection: Connection) -> list[AlertsItem]:
    """Return the alerts that are not over, the newest first."""
    query = select(alerts).where(alerts.c.cleared_at.is_(None)).order_by(alerts.c.raised_at.desc()).limit(50)
    return [AlertsItem.model_validate(row) for row in connection.execute(query)]
