"""When a series may go. Everything about it must be done, and stay done for its retention."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from hermes_common.config import Retention
from hermes_common.records import DONE, BatchRef, DeliveryRecord, SeriesRecord, SeriesState

AT_WORK = "the router is at work on it"


@dataclass(frozen=True, slots=True)
class Keep:
    """Something about the series is not done; the reason is for people."""

    reason: str
    passes: bool = False
    """Whether it passes by itself without anything being said, so that somebody has to look again."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Everything is done; the retention ends at ``until``."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Delete:
    """The retention has passed; the reason is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to keep or delete."""


Judgement = Keep | Wait | Delete | Nothing


def unfinished(record: SeriesRecord, deliveries: Iterable[DeliveryRecord | None]) -> str | None:
    """Return what about a series is not done, or None. A delivery whose record is missing is not done.

    A failed delivery is not done: its images stay until a person restarts or dismisses it.
    """
    if record.pending is not None or not all(batch.said for batch in record.batches):
        return AT_WORK
    if any(batch.awaits_study for batch in record.batches):
        return "its study is not decided"
    for delivery in deliveries:
        if delivery is None:
            return "the record of a delivery is missing"
        if delivery.state not in DONE:
            return f"its delivery to {delivery.target} is {delivery.state.value}"
    return None


def judge(
    record: SeriesRecord,
    deliveries: Sequence[DeliveryRecord | None],
    last_reception: int,
    policy: Retention,
    now: datetime,
) -> Judgement:
    """Return what is to become of a series. ``last_reception`` is the sequence of its newest reception."""
    match record.state:
        case SeriesState.DELETED:
            return Nothing()
        case SeriesState.DELETING:
            return Delete("its deletion had begun")
        case SeriesState.OPEN:
            pass
        case _:
            assert_never(record.state)
    if not record.batches:
        return Nothing()
    if (reason := unfinished(record, deliveries)) is not None:
        return Keep(reason, passes=reason == AT_WORK)
    if last_reception > record.through_seq:
        return Keep("instances have come that are not decided yet", passes=True)
    kind, span = _retention(record.batches, policy)
    since = record.done_at if record.done_at is not None else now
    return Wait(since + span) if since + span > now else Delete(f"the retention for {kind} series has passed")


def _retention(batches: Sequence[BatchRef], policy: Retention) -> tuple[str, timedelta]:
    """Return the longest of the retentions that apply to the batches, and its name."""
    spans = {
        "delivered": policy.delivered,
        "unmatched": policy.unmatched,
        "discarded": policy.discarded,
    }
    kinds = {"delivered" if batch.deliveries else batch.outcome for batch in batches} & set(spans)
    kind = max(kinds or {"delivered"}, key=lambda each: spans[each])
    return kind, spans[kind]
