"""What the history says about deliveries."""

from datetime import timedelta

from sqlalchemy import Connection, func, select, tuple_

from hermes_common.ledger import attempts, deliveries, instance_deliveries
from hermes_common.runtime.clock import now
from hermes_web.core import cursor
from hermes_web.errors import NotFoundError
from hermes_web.features.deliveries.views import AttemptView, DeliveryDetail, DeliveryItem, OutcomeView
from hermes_web.features.paging import Listing, listing

OUTCOMES = 500
COLUMNS = tuple(column for column in deliveries.c if column.name != "bulk")
"""Of a delivery, as it is shown; without what the tables of the release before do not have."""


def list_deliveries(
    connection: Connection,
    states: list[str],
    target: str | None,
    limit: int,
    after: str | None,
    within: timedelta | None = None,
    commitment: str | None = None,
) -> Listing[DeliveryItem]:
    """Return deliveries, the one changed last first; with ``within`` only those that changed in that span."""
    query = select(*COLUMNS)
    if within is not None:
        query = query.where(deliveries.c.updated_at >= now() - within)
    if states:
        query = query.where(deliveries.c.state.in_(states))
    if target:
        query = query.where(deliveries.c.target == target)
    if commitment:
        query = query.where(deliveries.c.commitment == commitment, deliveries.c.commitment != "")
    if after is not None:
        query = query.where(tuple_(deliveries.c.updated_at, deliveries.c.delivery_id) < tuple_(*cursor.decode(after)))
    ordered = query.order_by(deliveries.c.updated_at.desc(), deliveries.c.delivery_id.desc())
    items = [DeliveryItem.model_validate(row) for row in connection.execute(ordered.limit(limit + 1))]
    return listing(items, limit, lambda item: (item.updated_at, item.delivery_id))


def get_delivery(connection: Connection, delivery_id: str, after: int = -1) -> DeliveryDetail:
    """Return a delivery with its attempts and up to 500 outcomes; raise :class:`NotFoundError`."""
    row = connection.execute(select(*COLUMNS).where(deliveries.c.delivery_id == delivery_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"no delivery {delivery_id[:64]} is in the history")
    tries = connection.execute(
        select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.attempt.desc()).limit(200)
    )
    table = instance_deliveries
    mine = table.c.delivery_id == delivery_id
    said = connection.execute(select(func.count()).select_from(table).where(mine)).scalar_one()
    query = select(table).where(mine, table.c.index > after).order_by(table.c.index).limit(OUTCOMES + 1)
    outcomes = [OutcomeView.model_validate(item) for item in connection.execute(query)]
    return DeliveryDetail.model_validate(
        {
            **row._mapping,
            "attempts": [AttemptView.model_validate(item) for item in tries],
            "outcomes": outcomes[:OUTCOMES],
            "outcomes_next": outcomes[OUTCOMES - 1].index if len(outcomes) > OUTCOMES else None,
            "unsent": max(row.instances - said, 0),
        }
    )


def outcomes_of_series(connection: Connection, series_uid: str) -> dict[str, dict[str, OutcomeView]]:
    """Return the outcomes of the instances of a series by SOP instance UID and target (the first 5,000)."""
    table = instance_deliveries
    rows = connection.execute(
        select(table, deliveries.c.target)
        .join(deliveries, deliveries.c.delivery_id == table.c.delivery_id)
        .where(deliveries.c.series_uid == series_uid)
        .order_by(table.c.at)
        .limit(5000)
    )
    found: dict[str, dict[str, OutcomeView]] = {}
    for row in rows:
        found.setdefault(row.sop_instance_uid, {})[row.target] = OutcomeView.model_validate(row)
    return found


def ids_of(connection: Connection, states: list[str], target: str | None, limit: int) -> list[tuple[str, str, bool]]:
    """Return id, state and whether the target has not committed, of the deliveries that a filter finds."""
    query = select(deliveries.c.delivery_id, deliveries.c.state, deliveries.c.commitment).where(
        deliveries.c.state.in_(states)
    )
    if target:
        query = query.where(deliveries.c.target == target)
    rows = connection.execute(query.order_by(deliveries.c.updated_at.desc()).limit(limit))
    return [(row.delivery_id, row.state, row.commitment == "failed") for row in rows]


def state_of(connection: Connection, delivery_id: str) -> tuple[str, bool] | None:
    """Return the state of a delivery as the history has it, and whether its target has not committed to it; or None."""
    row = connection.execute(
        select(deliveries.c.state, deliveries.c.commitment).where(deliveries.c.delivery_id == delivery_id)
    ).one_or_none()
    return None if row is None else (row.state, row.commitment == "failed")
