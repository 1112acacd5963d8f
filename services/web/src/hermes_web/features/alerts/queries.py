"""What the history says: what needs a person, and what became of the messages about it."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, select, tuple_

from hermes_common.ledger import alert_messages, alerts
from hermes_web.core import cursor
from hermes_web.features.paging import Listing, View, listing


class Which(StrEnum):
    """Which alerts are listed."""

    ALL = "all"
    OPEN = "open"


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


class ChannelState(View):
    """What became of the messages over a channel."""

    channel: str
    waiting: int = 0
    last_sent_at: datetime | None = None
    last_failed_at: datetime | None = None
    attempts: int = 0
    """Of the message that waits and was tried most often."""
    next_at: datetime | None = None
    reason: str = ""
    """Why the last attempt failed, while anything waits."""

    @property
    def state(self) -> str:
        """Return the word for it."""
        if self.attempts:
            return "failing"
        return "idle" if self.last_sent_at is None else "ok"


def list_alerts(connection: Connection, limit: int, after: str | None, which: Which = Which.ALL) -> Listing[AlertsItem]:
    """Return the rows, the newest first."""
    query = select(alerts)
    if which is Which.OPEN:
        query = query.where(alerts.c.cleared_at.is_(None))
    if after is not None:
        query = query.where(tuple_(alerts.c.raised_at, alerts.c.alert_id) < tuple_(*cursor.decode(after)))
    rows = connection.execute(query.order_by(alerts.c.raised_at.desc(), alerts.c.alert_id.desc()).limit(limit + 1))
    items = [AlertsItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.raised_at, item.alert_id))


def get_alert(connection: Connection, alert_id: str) -> AlertsItem | None:
    """Return one row, or None."""
    row = connection.execute(select(alerts).where(alerts.c.alert_id == alert_id)).first()
    return None if row is None else AlertsItem.model_validate(row)


def channel_states(connection: Connection) -> dict[str, ChannelState]:
    """Return the state of every channel that there were messages for, by its slug."""
    table = alert_messages
    waits = table.c.state == "waiting"
    tried = waits & (table.c.attempt > 0)
    rows = connection.execute(
        select(
            table.c.channel,
            func.count().filter(waits).label("waiting"),
            func.max(table.c.ended_at).filter(table.c.state == "sent").label("last_sent_at"),
            func.max(table.c.ended_at).filter(table.c.state == "failed").label("last_failed_at"),
            func.coalesce(func.max(table.c.attempt).filter(waits), 0).label("attempts"),
            func.min(table.c.next_at).filter(tried).label("next_at"),
            func.coalesce(func.max(table.c.reason).filter(tried), "").label("reason"),
        ).group_by(table.c.channel)
    )
    return {row.channel: ChannelState.model_validate(row) for row in rows}
