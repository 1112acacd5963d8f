"""Making room in an object store that is too full: how much has to go, and what goes first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hermes_common.config import Watermark
from hermes_common.records import SeriesRecord, SeriesState
from hermes_common.retention import watermark_words
from hermes_common.sizes import size_words


@dataclass(frozen=True, slots=True)
class Room:
    """What is known of the room in the store, in octets."""

    stored: int
    """What live records name."""
    free: int | None
    """None where that cannot be seen."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that is marked as done; whether it may go is judged again before it does."""

    series_uid: str
    octets: int
    done_at: datetime


def excess(policy: Watermark, room: Room) -> int:
    """Return how many octets have to go; 0 if the store is within its limits."""
    over = room.stored - policy.most if policy.most is not None else 0
    short = policy.least_free - room.free if policy.least_free is not None and room.free is not None else 0
    return max(over, short, 0)


def candidate_of(record: SeriesRecord, policy: Watermark, now: datetime) -> Candidate | None:
    """Return the series as a candidate, None if it is not one."""
    if record.state is not SeriesState.OPEN or record.done_at is None or record.done_at + policy.done_for > now:
        return None
    return Candidate(record.series_uid, octets_of(record), record.done_at)


def octets_of(record: SeriesRecord) -> int:
    """Return the octets of the instances that a record names."""
    return 0 if record.state is SeriesState.DELETED else sum(batch.octets for batch in record.batches)


def oldest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return candidates in the order in which they go."""
    return sorted(candidates, key=lambda each: (each.done_at, each.series_uid))


def describe(policy: Watermark, room: Room) -> str:
    """Return the limits and what there is, for people."""
    free = "" if room.free is None else f", {size_words(room.free)} free"
    return f"the limit is {watermark_words(policy)}; there are {size_words(room.stored)} stored{free}"


def blind_spot(policy: Watermark, room: Room) -> str:
    """Return what of the policy cannot be kept because nothing tells, empty if all can."""
    if policy.least_free is not None and room.free is None:
        return (
            "this object store does not tell how much is free: set watermark.most instead, "
            "or HERMES_STORE_VOLUME where its disk is on this machine"
        )
    return ""
