"""When a series may go. Everything about it must be done, and stay done for its retention."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from hermes_common.config import Retention, Watermark
from hermes_common.durations import format_duration
from hermes_common.records import DONE, DeliveryState, SeriesRecord, SeriesState
from hermes_common.retention import Share, span_of

AT_WORK = "the router is at work on it"
AWAITS_STUDY = "its study is not decided"

SLACK = timedelta(hours=1)
"""What was marked as done further in the future than this was marked by a clock that has been set back since."""


class Delivery(Protocol):
    """What has to be known of a delivery."""

    @property
    def target(self) -> str:
        """Where it goes."""

    @property
    def state(self) -> DeliveryState:
        """How far it is."""

    @property
    def awaits_commitment(self) -> bool:
        """Whether it arrived, and the target has yet to say that it keeps all of it (or has said that it does not)."""

    @property
    def rules(self) -> Sequence[str]:
        """Who asked for it."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Something about the series is not done; the reason is for people."""

    reason: str
    passes: bool = False
    """Whether it passes by itself without anything being said, so that somebody has to look again."""
    since: datetime | None = None
    """When its retention began, if it has: it only may not be deleted yet."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Everything is done since ``since``; the retention ends at ``until``. ``why`` says which one, for people."""

    until: datetime
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Delete:
    """The retention has passed; the reason is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to keep or delete."""


Judgement = Keep | Wait | Delete | Nothing


def unfinished(record: SeriesRecord, deliveries: Iterable[Delivery | None]) -> str | None:
    """Return what about a series is not done, or None. A delivery whose record is missing is not done.

    A failed delivery is not done: its images stay until a person restarts or dismisses it. One that arrived at a target
    that is asked for storage commitment is done when the target has given it.
    """
    if record.pending is not None or not all(batch.said for batch in record.batches):
        return AT_WORK
    if any(batch.deferred for batch in record.batches):
        return AWAITS_STUDY
    for delivery in deliveries:
        if delivery is None:
            return "the record of a delivery is missing"
        if delivery.state not in DONE:
            return f"its delivery to {delivery.target} is {delivery.state.value}"
        if delivery.awaits_commitment:
            return f"{delivery.target} has not committed to keeping what was delivered"
    return None


def judge(
    record: SeriesRecord,
    deliveries: Sequence[Delivery | None],
    last_reception: int,
    policy: Retention,
    now: datetime,
) -> Judgement:
    """Return what is to become of a series. ``last_reception`` is the sequence of its newest reception.

    A series that goes where rules about series sent it is done when that has arrived; its study being undecided keeps
    it, and does not hold its retention up.
    """
    match record.state:
        case SeriesState.DELETED:
            return Nothing()
        case SeriesState.DELETING:
            return Delete("its deletion had begun")
        case SeriesState.OPEN:
            return _judge_open(record, deliveries, last_reception, policy, now) if record.batches else Nothing()
        case _:
            assert_never(record.state)


def _judge_open(
    record: SeriesRecord, deliveries: Sequence[Delivery | None], last_reception: int, policy: Retention, now: datetime
) -> Judgement:
    if (reason := unfinished(record, deliveries)) is not None:
        return Keep(reason, passes=reason == AT_WORK)
    if last_reception > record.through_seq:
        return Keep("instances have come that are not decided yet", passes=True)
    since = now if record.done_at is None or record.done_at > now + SLACK else record.done_at
    if any(batch.awaits_study for batch in record.batches):
        return Keep(AWAITS_STUDY, since=since)
    span = span_of(shares(record, deliveries), policy)
    why = f"the retention of {span.why}, {format_duration(span.keep)}"
    return Wait(since + span.keep, since, why) if since + span.keep > now else Delete(f"{why}, has passed")


def shares(record: SeriesRecord, deliveries: Iterable[Delivery | None]) -> list[Share]:
    """Return the parts of a series that retention goes by."""
    found = [Share("delivered", delivery.rules, delivery.target) for delivery in deliveries if delivery is not None]
    nowhere = [batch for batch in record.batches if not batch.deliveries]
    found += [Share("unmatched", batch.rules) for batch in nowhere if batch.outcome == "unmatched"]
    found += [Share("discarded", batch.rules) for batch in nowhere if batch.outcome == "discarded"]
    return found


def may_go_early(record: SeriesRecord, judgement: Judgement, policy: Watermark, now: datetime) -> bool:
    """Whether a full store may take a series before its retention: all of it is done, and has been for a while."""
    if not isinstance(judgement, Wait | Delete) or record.state is not SeriesState.OPEN:
        return False
    return record.done_at is not None and record.done_at + policy.done_for <= now
