"""What the history says: what needs a person."""

from datetime import datetime

from sqlalchemy import Connection, select, tuple_

from hermes_common.ledger import alerts
from hermes_web.core import cursor
from hermes_web.features.paging import Listing, View, listing


class AlertsItem(View):
    """One row."""

    alert_id: str
    kind: str
    about: str
    severity: str
    message: str
    reason: str
    raised_at: datetime
    cleared_at: datetime | None = None


def list_alerts(connection: Connection, limit: int, after: str | None) -> Listing[AlertsItem]:
    """Return the rows, the newest first."""
    query = select(alerts)
    if after is not None:
        query = query.where(tuple_(alerts.c.raised_at, alerts.c.alert_id) < tuple_(*cursor.decode(after)))
    rows = connection.execute(query.order_by(alerts.c.raised_at.desc(), alerts.c.alert_id.desc()).limit(limit + 1))
    items = [AlertsItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.raised_at, item.alert_id))


def get_alert(connection: Connection, alert_id: str) -> AlertsItem | None:
    """Return one row, or None."""
    row = connection.execute(select(alerts).where(alerts.c.alert_id == alert_id)).first()
    return None if row is None else AlertsItem.model_validate(row)
