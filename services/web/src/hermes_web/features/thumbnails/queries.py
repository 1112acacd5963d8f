"""Which stored instance a picture is of."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from hermes_common.ledger import instances, series
from hermes_common.manifest import ManifestInstance
from hermes_web.errors import NotFoundError

_OF_INSTANCE = [column for column in instances.c if column.name in ManifestInstance.model_fields]


@dataclass(frozen=True, slots=True)
class Subject:
    """An instance, and whether the images of its series were deleted."""

    instance: ManifestInstance
    is_deleted: bool


def subject_of_instance(connection: Connection, uid: str, reception_id: str) -> Subject:
    """Return one reception of a series; raise :class:`NotFoundError`."""
    return _subject(connection, instances.c.series_uid == uid, instances.c.reception_id == reception_id)


def subject_of_series(connection: Connection, uid: str) -> Subject:
    """Return the reception in the middle of a series, in the order in which they came; raise :class:`NotFoundError`."""
    middle = select(func.count() / 2).select_from(instances).where(instances.c.series_uid == uid)
    return _subject(connection, instances.c.series_uid == uid, at=int(connection.execute(middle).scalar_one()))


def _subject(connection: Connection, *where: ColumnElement[bool], at: int = 0) -> Subject:
    query = (
        select(*_OF_INSTANCE, series.c.state)
        .join(series, series.c.series_uid == instances.c.series_uid)
        .where(*where)
        .order_by(instances.c.seq)
        .offset(at)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("no such instance is in the history")
    return Subject(ManifestInstance.model_validate(dict(row._mapping)), row.state == "deleted")
