"""Who has sent, from the history."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from hermes_common.ledger import associations
from hermes_web.features.paging import View


class Seen(View):
    """A sender that asked for associations in the last 30 days."""

    calling_aet: str
    called_aet: str
    address: str
    associations: int
    rejected: int
    instances: int
    last_seen: datetime


def seen(connection: Connection) -> list[Seen]:
    """Return who has sent or wanted to, the last one first."""
    table = associations
    last = func.max(table.c.opened_at).label("last_seen")
    who = (table.c.calling_aet, table.c.called_aet, table.c.address)
    rows = connection.execute(
        select(
            *who,
            func.count().label("associations"),
            func.count().filter(table.c.state == "rejected").label("rejected"),
            func.coalesce(func.sum(table.c.instances), 0).label("instances"),
            last,
        )
        .where(table.c.opened_at > func.now() - func.make_interval(0, 0, 0, 30))
        .group_by(*who)
        .order_by(last.desc())
        .limit(200)
    )
    return [Seen.model_validate(row) for row in rows]
