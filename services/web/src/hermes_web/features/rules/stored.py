"""Series of the history as rules see them: the tags that the bookkeeper kept, and the facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from hermes_common.ledger import series
from hermes_common.rules.facts import received_facts, series_facts
from hermes_web.errors import NotFoundError

MOST = 600
"""Series that are looked up at once."""

_COLUMNS = (
    *(series.c.series_uid, series.c.state, series.c.modality, series.c.study_description, series.c.series_description),
    *(series.c.calling_aet, series.c.called_aet, series.c.address, series.c.instances, series.c.octets, series.c.tags),
    *(series.c.last_received_at, series.c.decided_at),
)


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series of the history. ``at`` is when it was decided, or last received if it is not decided yet."""

    uid: str
    state: str
    modality: str
    description: str
    source: str
    fields: dict[str, list[str]]
    at: datetime

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
        state=row.state,
        modality=row.modality,
        description=row.series_description or row.study_description,
        source=row.calling_aet,
        fields={**row.tags, **facts, **received},
        at=row.decided_at or row.last_received_at,
    )
