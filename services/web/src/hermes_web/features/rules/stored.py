"""Series of the history as rules see them: the tags that the bookkeeper kept, and the facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from hermes_common.ledger import series
from hermes_common.rules.facts import received_facts, series_facts, study_fields
from hermes_web.errors import NotFoundError

MOST = 600
"""Series that are looked up at once."""

_COLUMNS = (
    *(
        series.c.series_uid,
        series.c.study_uid,
        series.c.state,
        series.c.modality,
        series.c.study_description,
        series.c.series_description,
    ),
    *(series.c.calling_aet, series.c.called_aet, series.c.address, series.c.instances, series.c.octets, series.c.tags),
    *(series.c.last_received_at, series.c.decided_at),
)


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series of the history. ``at`` is when it was decided, or last received if it is not decided yet."""

    uid: str
    study_uid: str
    state: str
    modality: str
    description: str
    source: str
    fields: dict[str, list[str]]
    at: datetime
    received_at: datetime
    instances: int

    def to_dict(self) -> dict[str, Any]:
        """Return what a list shows of it."""
        return {
            "series_uid": self.uid,
            "state": self.state,
            "modality": self.modality,
            "description": self.description,
            "source": self.source,
            "at": self.at.isoformat(),
        }


def stored_series(connection: Connection, uid: str) -> StoredSeries:
    """Return one series; raise :class:`NotFoundError`."""
    row = connection.execute(select(*_COLUMNS).where(series.c.series_uid == uid)).one_or_none()
    if row is None:
        raise NotFoundError(f"no series {uid[:64]} is in the history")
    return _read(row)


def many_series(connection: Connection, uids: Sequence[str]) -> dict[str, StoredSeries]:
    """Return those of the series that the history knows, by UID; at most :data:`MOST`."""
    rows = connection.execute(select(*_COLUMNS).where(series.c.series_uid.in_(list(uids)[:MOST])))
    return {row.series_uid: _read(row) for row in rows}


def _read(row: Any) -> StoredSeries:
    facts = series_facts([row.calling_aet], [row.called_aet], [row.address], row.instances, row.octets)
    received = received_facts(row.last_received_at.astimezone())
    return StoredSeries(
        uid=row.series_uid,
        study_uid=row.study_uid,
        state=row.state,
        modality=row.modality,
        description=row.series_description or row.study_description,
        source=row.calling_aet,
        fields={**row.tags, **facts, **received},
        at=row.decided_at or row.last_received_at,
        received_at=row.last_received_at,
        instances=row.instances,
    )


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study of the history with its series; ``at`` is when the last of them was decided or received."""

    uid: str
    series: tuple[StoredSeries, ...]
    fields: dict[str, list[str]]
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return what a list shows of it."""
        first = self.series[0]
        modalities = dict.fromkeys(each.modality for each in self.series if each.modality)
        return {
            "study_uid": self.uid,
            "state": "",
            "modality": " ".join(modalities),
            "description": " ".join(self.fields.get("StudyDescription", ())) or first.description,
            "source": first.source,
            "at": self.at.isoformat(),
        }


MOST_IN_STUDY = 100
"""Series of a study that are looked at."""


def recent_series(connection: Connection, most: int) -> list[StoredSeries]:
    """Return the series that came last, the newest first; those that are still coming in are left out."""
    query = select(*_COLUMNS).where(series.c.state != "receiving").order_by(series.c.last_received_at.desc())
    return [_read(row) for row in connection.execute(query.limit(most))]


def recent_studies(
    connection: Connection, most: int, since: datetime | None = None, until: datetime | None = None
) -> list[StoredStudy]:
    """Return the studies of which series came last, the newest first; of a span of time, if it is given."""
    rows = select(series.c.study_uid, series.c.last_received_at)
    if since is None:
        rows = rows.order_by(series.c.last_received_at.desc()).limit(most * 20)
    else:
        rows = rows.where(series.c.last_received_at >= since, series.c.decided_at.is_not(None))
        rows = rows if until is None else rows.where(series.c.last_received_at < until)
    latest = rows.subquery()
    newest = func.max(latest.c.last_received_at)
    query = select(latest.c.study_uid).group_by(latest.c.study_uid).order_by(newest.desc()).limit(most)
    return _studies(connection, list(connection.execute(query).scalars()))


def stored_study(connection: Connection, uid: str) -> StoredStudy:
    """Return one study; raise :class:`NotFoundError`."""
    found = _studies(connection, [uid])
    if not found:
        raise NotFoundError(f"no study {uid[:64]} is in the history")
    return found[0]


AT_ONCE = 100


def _studies(connection: Connection, uids: Sequence[str]) -> list[StoredStudy]:
    members: dict[str, list[StoredSeries]] = {uid: [] for uid in uids}
    for begin in range(0, len(uids), AT_ONCE):
        query = select(*_COLUMNS).where(series.c.study_uid.in_(uids[begin : begin + AT_ONCE]))
        for row in connection.execute(query.order_by(series.c.first_received_at)):
            if len(members[row.study_uid]) < MOST_IN_STUDY:
                members[row.study_uid].append(_read(row))
    return [_study(uid, tuple(own)) for uid, own in members.items() if own]


def _study(uid: str, members: tuple[StoredSeries, ...]) -> StoredStudy:
    latest = max(members, key=lambda each: each.received_at)
    instances = sum(each.instances for each in members)
    fields = study_fields([each.fields for each in members], instances, latest.fields)
    return StoredStudy(uid, members, fields, max(each.at for each in members))


_COLUMN_OF = {
    "source.aet": series.c.calling_aet,
    "source.called_aet": series.c.called_aet,
    "source.ip": series.c.address,
}
MOST_LOOKED_AT = 2000
MOST_SEEN = 20


def values_seen(connection: Connection, name: str, begins: str = "") -> list[tuple[str, int]]:
    """Return values of a field in the last series, those of most series first, with how many had each.

    ``begins`` is a part of the value, whatever its case. Values that are long are left out.
    """
    column: Any = _COLUMN_OF.get(name)
    wanted = series.c.tags[name] if column is None else func.jsonb_build_array(column)
    last = select(wanted.label("found")).order_by(series.c.last_received_at.desc()).limit(MOST_LOOKED_AT).subquery()
    value = func.jsonb_array_elements_text(last.c.found).table_valued("value").render_derived()
    count = func.count().label("seen")
    query = (
        select(value.c.value, count)
        .select_from(last.join(value, func.length(value.c.value).between(1, 120)))
        .where(func.jsonb_typeof(last.c.found) == "array")
        .group_by(value.c.value)
        .order_by(count.desc(), value.c.value)
        .limit(MOST_SEEN)
    )
    if begins:
        query = query.where(func.strpos(func.lower(value.c.value), begins.lower()) > 0)
    return [(row.value, row.seen) for row in connection.execute(query)]
