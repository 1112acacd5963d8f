"""Objects that nothing names. What is not surely an orphan is none."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hermes_common.cleaning import Orphan
from hermes_common.ids import InvalidIdentifierError, check_uid
from hermes_common.keys import MANIFESTS, QUARANTINE, STUDIES, SWEEPS
from hermes_common.manifest import Manifest
from hermes_common.records import SeriesRecord, SeriesState

_INSTANCE = re.compile(r"[0-9.]{1,64}-[0-9a-f]{16}-[0-9a-f]{32}\.dcm")


class Kind(StrEnum):
    """What an object is, by its key."""

    INSTANCE = "instance"
    DOCUMENT = "document"
    """A manifest or a decision of a series."""
    STUDY = "study"
    """A decision on a study."""
    OTHER = "other"
    """Quarantine, reports of sweeps, and what is none of ours: never an orphan."""


@dataclass(frozen=True, slots=True)
class Place:
    """What an object is, and of which series or study."""

    kind: Kind
    uid: str = ""


def place_of(key: str) -> Place:
    """Return what an object is, by its key."""
    parts = key.split("/")
    try:
        match parts:
            case [uid, name] if uid not in (MANIFESTS, STUDIES, QUARANTINE, SWEEPS) and _INSTANCE.fullmatch(name):
                return Place(Kind.INSTANCE, check_uid(uid))
            case [folder, uid, name] if folder == MANIFESTS and name.endswith(".json"):
                return Place(Kind.DOCUMENT, check_uid(uid))
            case [folder, uid, name] if folder == STUDIES and name.endswith(".json"):
                return Place(Kind.STUDY, check_uid(uid))
            case _:
                return Place(Kind.OTHER)
    except InvalidIdentifierError:
        return Place(Kind.OTHER)


@dataclass(frozen=True, slots=True)
class Series:
    """What is known of a series for which there are objects."""

    record: SeriesRecord | None
    named: Collection[str] = ()
    """Keys that its manifests name, and the receptions that are in no batch yet."""
    sent: Collection[str] = ()
    """Those of them that are the instances of its batches."""
    unread: bool = False
    """Something about it could not be read: then nothing of it is an orphan."""


def why_orphan(place: Place, key: str, series: Series) -> str:
    """Return why an object of a series is an orphan, in words; empty if it is none."""
    if place.kind not in (Kind.INSTANCE, Kind.DOCUMENT) or series.unread or key in series.named:
        return ""
    if series.record is None:
        return "no record and no event names its series"
    match series.record.state, place.kind:
        case SeriesState.DELETED, Kind.INSTANCE | Kind.DOCUMENT:
            return "its series was deleted"
        case SeriesState.OPEN, Kind.INSTANCE:
            return "no batch of its series names it"
        case _:
            return ""


def must_be_there(manifests: Iterable[Manifest]) -> list[str]:
    """Return the keys of what has to be in the store. What came twice with the same bytes may have been removed."""
    return [item.key for manifest in manifests for item in (*manifest.instances, *manifest.superseded)]


def orphan(
    key: str, octets: int, modified: datetime, why: str, before: Mapping[str, datetime], grace: timedelta, now: datetime
) -> Orphan:
    """Return an orphan. ``before``: when those of the last sweep were first seen.

    The grace begins when a sweep has seen it: until then, and for as long, it may be on its way to being named.
    """
    first_seen = min(before.get(key, now), now)
    return Orphan(
        key=key, octets=octets, modified=modified, first_seen=first_seen, why=why, removed_from=first_seen + grace
    )


def is_beyond_grace(found: Orphan, grace: timedelta, now: datetime) -> bool:
    """Whether an orphan may be removed: it has been one for the whole grace, and is older than that itself."""
    return found.first_seen + grace <= now and found.modified + grace <= now
