"""What the history says of associations."""

from datetime import datetime

from pydantic import computed_field
from sqlalchemy import Connection, select, tuple_

from hermes_common.ledger import associations
from hermes_web.core import cursor
from hermes_web.features.paging import Listing, View, listing


class AssociationItem(View):
    """One association, or one STOW-RS request."""

    association_id: str
    state: str
    calling_aet: str
    called_aet: str
    address: str
    instances: int
    refused: int
    octets: int
    reason: str
    tls: str
    """TLS version and cipher suite; empty for a plain connection."""
    certificate: str
    """Subject of the verified client certificate; empty without one."""
    identity: str
    """Name of the user whose identity was verified (PS3.7 D.3.3.7); empty without one."""
    implementation: str
    """What the peer said about its implementation."""
    opened_at: datetime
    closed_at: datetime | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds(self) -> float | None:
        """How long it lasted, or null while it does."""
        return None if self.closed_at is None else round((self.closed_at - self.opened_at).total_seconds(), 3)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def octets_per_second(self) -> int | None:
        """Its rate over all, or null where there is none."""
        return None if not self.seconds or not self.octets else round(self.octets / self.seconds)


def list_associations(
    connection: Connection,
    limit: int,
    after: str | None,
    state: str | None = None,
    calling_aet: str | None = None,
    address: str | None = None,
) -> Listing[AssociationItem]:
    """Return the associations that fit, the newest first."""
    table = associations
    query = select(table)
    for column, value in ((table.c.state, state), (table.c.calling_aet, calling_aet), (table.c.address, address)):
        if value:
            query = query.where(column == value)
    if after is not None:
        query = query.where(tuple_(table.c.opened_at, table.c.association_id) < tuple_(*cursor.decode(after)))
    rows = connection.execute(query.order_by(table.c.opened_at.desc(), table.c.association_id.desc()).limit(limit + 1))
    items = [AssociationItem.model_validate(row) for row in rows]
    return listing(items, limit, lambda item: (item.opened_at, item.association_id))
