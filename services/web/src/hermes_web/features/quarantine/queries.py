"""What the history says: what could not be taken as an instance."""

from datetime import datetime

from sqlalchemy import Connection, select, tuple_

from hermes_common.ledger import quarantine
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


def list_quarantine(connection: Connection, limit: int, after: str | None) -> Listing[QuarantineItem]:
    """Return the rows, the newest first."""
    query = select(quarantine)
    if after is not None:
        query = query.where(tuple_(quarantine.c.received_at, quarantine.c.reception_id) < tuple_(*cursor.decode(after)))
    rows = connection.execute(
        query.order_by(quarantine.c.received_at.desc(), quarantine.c.reception_id.desc()).limit(limit + 1)
    )
    items = [QuarantineItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.received_at, item.reception_id))
