"""Whether and when a delivery is tried again."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from hermes_common.config import Retry as Policy
from hermes_common.durations import format_duration
from hermes_dispatcher.core.outcomes import PASSING, WORDS, NotDelivered

T = TypeVar("T")

SPREAD = 0.1
"""Part of the delay by which attempts are spread, so that they do not all come at once after an outage."""

STRIDE = 3
"""Instances that a try begins behind where the one before it began."""

LONGEST_ASKED = timedelta(hours=1)
"""How long a target may ask to be left alone, where the longest delay of its policy is not longer."""

LONGEST = 1500
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class Succeed:
    """Nothing is missing."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Another attempt comes at ``at``."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A person has to look: nothing more happens by itself."""

    reason: str


Decision = Succeed | TryAgain | GiveUp


def delay(policy: Policy, tries: int, jitter: float) -> timedelta:
    """Return how long to wait after ``tries`` (from 1) attempts; ``jitter`` is 0 to 1."""
    seconds = policy.delay.total_seconds()
    longest = policy.max_delay.total_seconds()
    for _ in range(tries - 1):
        seconds *= policy.factor
        if seconds >= longest:
            break
    return timedelta(seconds=min(seconds, longest) * (1 + SPREAD * jitter))


def decide(
    policy: Policy,
    tries: int,
    left: Collection[NotDelivered],
    total: int,
    now: datetime,
    jitter: float,
    expiry: datetime | None = None,
) -> Decision:
    """Return what becomes of a delivery after an attempt that left some of its ``total`` instances behind.

    ``left`` has one entry for each missing instance. Instances that the target refuses, or that are damaged, are no
    reason to try again; the others are, until the policy's attempts are used up or ``expiry`` has come. The last
    attempt is not later than that.

    Where the target has asked to be left alone for a time, the next attempt is not before it: up to
    :data:`LONGEST_ASKED` or the policy's longest delay, and up to ``expiry``.
    """
    if not left:
        return Succeed()
    reason = describe(left, total)
    if not any(item.trouble in PASSING for item in left):
        return GiveUp(f"{reason}; trying again is of no use")
    if tries >= policy.max_attempts:
        attempts = "1 attempt" if tries == 1 else f"{tries} attempts"
        return GiveUp(f"{reason}; given up after {attempts}")
    if expiry is not None and now >= expiry:
        return GiveUp(f"{reason}; given up after {format_duration(policy.max_age)}")
    at = now + delay(policy, tries, jitter)
    asked = max((item.wait for item in left if item.wait is not None), default=None)
    if asked is not None:
        most = max(policy.max_delay, LONGEST_ASKED)
        at = max(at, now + min(asked, most))
        reason = f"{reason}; {_asked(asked, most)}"
    return TryAgain(at if expiry is None else min(at, expiry), reason)


def _asked(wait: timedelta, most: timedelta) -> str:
    """Return in words for how long a target has asked to be left alone, and what of that is granted."""
    words = f"the target asked to be left alone for {format_duration(timedelta(seconds=round(wait.total_seconds())))}"
    return words if wait <= most else f"{words}, of which {format_duration(most)} are granted"


def from_elsewhere(items: Sequence[T], tries: int) -> Sequence[T]:
    """Return all items, begun at another place with each try (from 1).

    A target that is busy a few times in a row ends an attempt. If it is busy for ever over the same few instances,
    these are not always the first, and do not keep the others back.
    """
    start = max(tries - 1, 0) * STRIDE % len(items) if items else 0
    return [*items[start:], *items[:start]]


def describe(left: Collection[NotDelivered], total: int) -> str:
    """Return in words how many instances are missing and why, with one reason of each kind."""
    counts: Counter[str] = Counter(WORDS[item.trouble] for item in left)
    first: dict[str, str] = {}
    for item in left:
        first.setdefault(WORDS[item.trouble], item.reason)
    parts = [f"{count} {words} ({first[words]})" for words, count in counts.most_common()]
    return f"{len(left)} of {total} instances missing: {'; '.join(parts)}"[:LONGEST]


def missing_of(
    total: int, delivered: Collection[int], known: Mapping[int, NotDelivered], otherwise: NotDelivered
) -> list[NotDelivered]:
    """Return why each instance is missing: what is known of it, or what stopped the attempt before its turn."""
    return [known.get(position, otherwise) for position in range(total) if position not in delivered]
