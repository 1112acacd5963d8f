"""What the history says: what could not be taken as an instance."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, tuple_

from hermes_common.ledger import quarantine
from hermes_common.runtime.clock import now
from hermes_web.core import cursor
from hermes_web.features.paging import Listing, View, listing


class QuarantineItem(View):
    """One row."""

    reception_id: str
    association_id: str
    key: str
    reason: str
    status: int
    octets: int
    calling_aet: str
    called_aet: str
    address: str
    sop_class_uid: str
    sop_instance_uid: str
    received_at: datetime


def list_quarantine(
    connection: Connection, limit: int, after: str | None, within: timedelta | None = None
) -> Listing[QuarantineItem]:
    """Return the rows, the newest first; with ``within`` only those of that span."""
    query = select(quarantine)
    if within is not None:
        query = query.where(quarantine.c.received_at >= now() - within)
    if after is not None:
        query = query.where(tuple_(quarantine.c.received_at, quarantine.c.reception_id) < tuple_(*cursor.decode(after)))
    rows = connection.execute(
        query.order_by(quarantine.c.received_at.desc(), quarantine.c.reception_id.desc()).limit(limit + 1)
    )
    items = [QuarantineItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.received_at, item.reception_id))
