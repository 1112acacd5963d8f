"""What the history and the database say of the installation: growth, what is kept, restarts, sizes."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text

from hermes_common.ledger import quarantine, series, services
from hermes_common.runtime.clock import now
from hermes_web.core.forecast import DAYS, Day
from hermes_web.features.paging import View

KEPT = ("receiving", "completed", "routed", "delivered", "partly_failed", "failed", "unmatched", "discarded")


class Kept(View):
    """What lies in the object store in a state, as the history knows."""

    state: str
    series: int
    octets: int
    oldest: datetime | None


class Starts(View):
    """How often a service was started and crashed in a day."""

    service: str
    starts: int
    crashes: int


def kept(connection: Connection) -> list[Kept]:
    """Return what is kept, by state; quarantine is one more line."""
    rows = connection.execute(
        select(series.c.state, func.count(), func.sum(series.c.octets), func.min(series.c.last_received_at))
        .where(series.c.state != "deleted")
        .group_by(series.c.state)
    )
    found = [
        Kept(state=state, series=count, octets=octets or 0, oldest=oldest) for state, count, octets, oldest in rows
    ]
    aside = connection.execute(
        select(func.count(), func.coalesce(func.sum(quarantine.c.octets), 0), func.min(quarantine.c.received_at))
    ).one()
    found.sort(key=lambda item: KEPT.index(item.state) if item.state in KEPT else len(KEPT))
    return [*found, Kept(state="quarantine", series=aside[0], octets=aside[1], oldest=aside[2])]


def days(connection: Connection) -> list[Day]:
    """Return received and deleted octets of each of the last seven days, the oldest first."""
    at = now()
    found = []
    for back in range(DAYS, 0, -1):
        begin, end = at - timedelta(days=back), at - timedelta(days=back - 1)
        octets = func.coalesce(func.sum(series.c.octets), 0)
        came = select(octets).where(series.c.last_received_at >= begin, series.c.last_received_at < end)
        went = select(octets).where(series.c.deleted_at >= begin, series.c.deleted_at < end)
        received, deleted = (int(connection.execute(query).scalar_one()) for query in (came, went))
        found.append(Day(received, deleted))
    return found


def starts(connection: Connection) -> dict[str, Starts]:
    """Return starts and crashes of the last 24 hours, by service."""
    since = now() - timedelta(days=1)
    rows = connection.execute(
        select(
            services.c.service,
            func.count().filter(services.c.started_at >= since),
            func.count().filter((services.c.state == "crashed") & (services.c.ended_at >= since)),
        ).group_by(services.c.service)
    )
    return {name: Starts(service=name, starts=begun, crashes=crashed) for name, begun, crashed in rows}


def database_facts(connection: Connection) -> tuple[str, int]:
    """Return the version of PostgreSQL and the octets of our database."""
    version = connection.execute(text("SHOW server_version")).scalar_one()
    size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return str(version), int(size)
