"""Failed deliveries of the history, grouped by target and cause."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, func, select

from hermes_common.ledger import deliveries
from hermes_common.records import DeliveryState
from hermes_web.core.causes import Cause, cause_of

MOST = 5000
"""Failed deliveries that are looked at; more are said to be more."""
_SHOWN = 5
UNDER_WAY = ("queued", "sending", "retrying")
"""States of a delivery that was restarted and can still be held back."""


class Group(BaseModel):
    """Failed deliveries to one target for one cause."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    target: str
    cause: Cause
    ids: list[str]
    """The one that failed last first."""
    series: list[str]
    """The first few of their series."""
    reason: str
    """The dispatcher's words, of the one that failed last."""
    instances: int
    first: datetime
    last: datetime


def failures(connection: Connection, target: str | None = None) -> tuple[list[Group], bool]:
    """Return the groups, the largest first, and whether there were more failed deliveries than were looked at."""
    table = deliveries
    query = select(
        table.c.delivery_id,
        table.c.target,
        table.c.series_uid,
        table.c.reason,
        table.c.updated_at,
        (table.c.instances - table.c.delivered).label("missing"),
    ).where(table.c.state == "failed")
    if target:
        query = query.where(table.c.target == target)
    rows = connection.execute(query.order_by(table.c.updated_at.desc()).limit(MOST + 1)).all()
    groups: dict[tuple[str, str], Group] = {}
    for row in rows[:MOST]:
        cause = cause_of(row.reason)
        key = (row.target, cause.code)
        if key not in groups:
            groups[key] = Group(
                target=row.target,
                cause=cause,
                ids=[],
                series=[],
                reason=row.reason,
                instances=0,
                first=row.updated_at,
                last=row.updated_at,
            )
        group = groups[key]
        group.ids.append(row.delivery_id)
        if row.series_uid not in group.series and len(group.series) < _SHOWN:
            group.series.append(row.series_uid)
        group.instances += row.missing
        group.first = row.updated_at
    return sorted(groups.values(), key=lambda group: -len(group.ids)), len(rows) > MOST


def under_way(connection: Connection, bulk: str, target: str, most: int) -> list[str]:
    """Return the deliveries of :func:`progress` that have not ended, at most ``most``, the one asked for last first."""
    table = deliveries
    rows = connection.execute(
        select(table.c.delivery_id)
        .where(table.c.bulk == bulk, table.c.bulk != "", table.c.target == target, table.c.state.in_(UNDER_WAY))
        .order_by(table.c.queued_at.desc(), table.c.delivery_id)
        .limit(most)
    )
    return list(rows.scalars())


def progress(connection: Connection, bulk: str, target: str) -> Mapping[str, int]:
    """Return the states of the deliveries to a target that a bulk action restarted, and nobody has restarted since."""
    table = deliveries
    rows = connection.execute(
        select(table.c.state, func.count())
        .where(
            table.c.bulk == bulk,
            table.c.bulk != "",
            table.c.target == target,
            table.c.state.in_([state.value for state in DeliveryState]),
        )
        .group_by(table.c.state)
    )
    return {state: count for state, count in rows}  # noqa: C416 - rows are no pairs to the type checker
