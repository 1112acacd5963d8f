"""Failed deliveries of the history, and those that are tried again, grouped by target and cause."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, and_, func, or_, select

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


class Again(BaseModel):
    """Deliveries to one target that have not arrived yet and are tried again by themselves, for one cause."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    target: str
    cause: Cause
    deliveries: int
    instances: int
    reason: str
    """The dispatcher's words, of the one that changed last."""
    oldest: datetime
    """When the one that waits longest was queued."""
    next_at: datetime | None = None
    """The earliest next attempt; None while they wait for the target to answer its tests."""
    states: frozenset[str] = frozenset()
    """Their states."""


def trying_again(connection: Connection, target: str | None = None) -> tuple[list[Again], bool]:
    """Return what has been tried and is tried again by itself, the largest group first, and whether there is more.

    That is what retries, and what waits in the queue since an attempt found its target down: it costs no attempts.
    """
    table = deliveries
    waits = and_(table.c.state == DeliveryState.QUEUED.value, table.c.attempt > 0, table.c.reason != "")
    query = select(
        *(table.c.target, table.c.state, table.c.reason, table.c.next_attempt_at, table.c.queued_at),
        (table.c.instances - table.c.delivered).label("missing"),
    ).where(or_(table.c.state == DeliveryState.RETRYING.value, waits))
    if target:
        query = query.where(table.c.target == target)
    rows = connection.execute(query.order_by(table.c.updated_at.desc()).limit(MOST + 1)).all()
    groups: dict[tuple[str, str], Again] = {}
    for row in rows[:MOST]:
        cause = cause_of(row.reason)
        found = groups.get((row.target, cause.code)) or Again(
            target=row.target, cause=cause, deliveries=0, instances=0, reason=row.reason, oldest=row.queued_at
        )
        soonest = min((at for at in (found.next_at, row.next_attempt_at) if at is not None), default=None)
        groups[row.target, cause.code] = found.model_copy(
            update={
                "deliveries": found.deliveries + 1,
                "instances": found.instances + row.missing,
                "oldest": min(found.oldest, row.queued_at),
                "next_at": soonest,
                "states": found.states | {row.state},
            }
        )
    return sorted(groups.values(), key=lambda group: -group.deliveries), len(rows) > MOST


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
