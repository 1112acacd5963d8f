"""What the history says of targets, and of instances that a target's changes can be tried on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, bindparam, column, func, select

from hermes_common.ledger import deliveries, instances, services
from hermes_common.manifest import ManifestInstance
from hermes_web.errors import NotFoundError
from hermes_web.features.paging import View


def stored_instance(connection: Connection, series_uid: str, sop_instance_uid: str = "") -> ManifestInstance:
    """Return an instance of a series, the one last received unless one is named; raise :class:`NotFoundError`."""
    query = select(instances).where(instances.c.series_uid == series_uid)
    if sop_instance_uid:
        query = query.where(instances.c.sop_instance_uid == sop_instance_uid)
    row = connection.execute(query.order_by(instances.c.received_at.desc()).limit(1)).one_or_none()
    if row is None:
        raise NotFoundError(f"no such instance of series {series_uid[:64]} is in the history")
    return ManifestInstance.model_validate(dict(row._mapping))


class Contact(View):
    """When the last delivery to a target came to something; None if none ever did."""

    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None


def contacts(connection: Connection, slugs: Sequence[str]) -> tuple[dict[str, Contact], datetime | None]:
    """Return of each of those targets when it was last reached or not, and when a dispatcher last started."""
    names = (
        func.unnest(bindparam("slugs", list(slugs), type_=ARRAY(Text)))
        .table_valued(column("slug", Text))
        .render_derived()
    )
    table = deliveries

    def last(*states: str) -> Any:
        mine = select(table.c.updated_at).where(table.c.target == names.c.slug, table.c.state.in_(states))
        return mine.order_by(table.c.updated_at.desc()).limit(1).scalar_subquery()

    rows = connection.execute(select(names.c.slug, last("succeeded"), last("failed", "retrying")))
    found = {slug: Contact(last_success_at=good, last_failure_at=bad) for slug, good, bad in rows}
    began = select(func.max(services.c.started_at)).where(services.c.service == "dispatcher")
    return found, connection.execute(began).scalar_one()
