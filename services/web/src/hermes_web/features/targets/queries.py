"""What the history says of instances that a target's changes can be tried on."""

from sqlalchemy import Connection, select

from hermes_common.ledger import instances
from hermes_common.manifest import ManifestInstance
from hermes_web.errors import NotFoundError


def stored_instance(connection: Connection, series_uid: str, sop_instance_uid: str = "") -> ManifestInstance:
    """Return an instance of a series, the one last received unless one is named; raise :class:`NotFoundError`."""
    query = select(instances).where(instances.c.series_uid == series_uid)
    if sop_instance_uid:
        query = query.where(instances.c.sop_instance_uid == sop_instance_uid)
    row = connection.execute(query.order_by(instances.c.received_at.desc()).limit(1)).one_or_none()
    if row is None:
        raise NotFoundError(f"no such instance of series {series_uid[:64]} is in the history")
    return ManifestInstance.model_validate(dict(row._mapping))
