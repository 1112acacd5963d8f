"""Which parts of the events are closed, and which are old enough to go: pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Part:
    """A closed part of the events, and when the last of its events was recorded."""

    name: str
    newest: datetime


def part_name(begun: datetime, taken: Collection[str]) -> str:
    """Return a name for the part whose first event was recorded at ``begun`` that no other part has."""
    name = f"events_{begun:%Y_%m}"
    following = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *following) if each not in taken)


def is_over(begun: datetime, now: datetime) -> bool:
    """Return whether the month in which a part was begun has ended."""
    return (begun.year, begun.month) < (now.year, now.month)


def expired(parts: Sequence[Part], keep: timedelta, now: datetime) -> list[str]:
    """Return the names of the parts of which every event has been kept for ``keep``, the oldest first."""
    return [part.name for part in sorted(parts, key=lambda part: part.newest) if now - part.newest > keep]
