"""What the history says: what people did."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, tuple_

from hermes_common.ledger import audit
from hermes_web.core import cursor
from hermes_web.features.paging import Listing, View, listing


class AuditItem(View):
    """One row."""

    event_id: str
    time: datetime
    actor: str
    action: str
    about: str
    address: str
    detail: dict[str, Any]


def list_audit(
    connection: Connection, limit: int, after: str | None, actor: str = "", entity: str = ""
) -> Listing[AuditItem]:
    """Return the rows, the newest first; with ``actor`` only that person's, with ``entity`` only actions on it."""
    columns = (audit.c[name] for name in AuditItem.model_fields)  # the release before has no chain
    query = select(*columns)
    if actor:
        query = query.where(audit.c.actor == actor)
    if entity:
        query = query.where(audit.c.action.like(f"{entity}.%"))
    if after is not None:
        query = query.where(tuple_(audit.c.time, audit.c.event_id) < tuple_(*cursor.decode(after)))
    rows = connection.execute(query.order_by(audit.c.time.desc(), audit.c.event_id.desc()).limit(limit + 1))
    items = [AuditItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.time, item.event_id))
