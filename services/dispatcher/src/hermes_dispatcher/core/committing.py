"""What becomes of the question whether a target keeps what it was sent (storage commitment, PS3.4 J).

    (succeeded) ---> due ---> asking ---> asked ---> committed
                      ^ ^        |          |  |
                      | +--------+          |  +---> failed (some are not kept; nothing was said in time)
                      |  refused, unreachable, interrupted
                      +---------------------+ not kept for a passing reason

A request about a large delivery is several N-ACTIONs, one after the other, each with a transaction of its own and at
most :data:`PER_TRANSACTION` instances. The delivery is committed when the results of all of them say so.

Every function is one of the record: two dispatchers, a result that comes twice, or before the request was answered,
meet in the compare-and-set of the record. A result after ``failed`` still counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from hermes_common.dicom.commitment import PASSING, failure_words
from hermes_common.durations import format_duration
from hermes_common.events import Uncommitted
from hermes_common.ranges import format_ranges, parse_ranges
from hermes_common.records import Commitment, CommitmentState, DeliveryRecord, DeliveryState
from hermes_common.targets import AnyTarget, AskCommitment, DicomTarget, Retry

T = TypeVar("T")

STEP = timedelta(seconds=30)
"""Longest time of one step of a request: to connect, to associate, to send, to be answered."""

HEARING = timedelta(seconds=20)
"""Time within which a result has to be durable; it is refused after it."""

_MARGIN = timedelta(seconds=10)
"""For what is to be written before and after a request."""

REMEMBERED = 16
"""Transactions of a delivery whose results still count; at least those of the last request."""

PER_TRANSACTION = 10_000
"""Instances in one N-ACTION: about 1.5 MB of UIDs. A result of ours may name five times as many."""

LISTED = 500


def asked_of(target: AnyTarget | None) -> AskCommitment | None:
    """Return how storage commitment is asked of a target, or None."""
    return target.commitment if isinstance(target, DicomTarget) else None


def step_of(target: DicomTarget) -> timedelta:
    """Return how long the target may take for one step of a request after it is connected."""
    return min(target.response_timeout, STEP)


def longest(target: DicomTarget) -> timedelta:
    """Return how long one N-ACTION may take, over all endpoints of the target; it is given up then."""
    once = min(target.connect_timeout, STEP) + 3 * step_of(target)
    stay = timedelta(0) if target.commitment is None else target.commitment.stay
    return len(target.all_endpoints()) * once + stay + HEARING


def lease(target: DicomTarget, parts: int = 1) -> timedelta:
    """Return how long nobody else asks while a dispatcher does, in so many parts."""
    return parts * longest(target) + _MARGIN


def in_parts(wanted: Sequence[T], most: int) -> list[tuple[T, ...]]:
    """Return what is to be asked for in parts of at most ``most``; one that is empty where there is nothing."""
    return [tuple(wanted[start : start + most]) for start in range(0, len(wanted), most)] or [()]


def owed(record: DeliveryRecord, target: AnyTarget, now: datetime) -> DeliveryRecord:
    """Return the record of a delivery that has just succeeded, with the question if its target is to be asked."""
    if asked_of(target) is None or record.state is not DeliveryState.SUCCEEDED:
        return record
    return record.model_copy(update={"commitment": Commitment(since=now, next_at=now)})


def asking(
    record: DeliveryRecord, commitment: Commitment, transactions: Sequence[str], until: datetime, now: datetime
) -> DeliveryRecord:
    """Return the record of a delivery about which a dispatcher begins to ask, under these transactions.

    ``until``: when its lease ends.
    """
    return _with(
        record,
        commitment,
        now,
        state=CommitmentState.ASKING,
        tries=commitment.tries + 1,
        transactions=(*commitment.transactions, *transactions)[-max(REMEMBERED, len(transactions)) :],
        parts=len(transactions),
        refused=format_ranges(parse_ranges(commitment.refused) | not_kept(commitment).keys()),
        failed={},
        next_at=until,
        ended_at=None,
    )


def taken(record: DeliveryRecord, commitment: Commitment, wait: timedelta, now: datetime) -> DeliveryRecord:
    """Return the record after the target took the request."""
    return _with(record, commitment, now, state=CommitmentState.ASKED, next_at=now + wait, reason="")


def interrupted(record: DeliveryRecord, commitment: Commitment, until: datetime, why: str) -> DeliveryRecord:
    """Return the record after a request that broke off through no fault of its own: made again, it costs no try.

    Nobody knows whether the target heard it; a result of it counts.
    """
    tries = max(0, commitment.tries - 1)
    return postponed(record, commitment.model_copy(update={"state": CommitmentState.DUE, "tries": tries}), until, why)


def postponed(record: DeliveryRecord, commitment: Commitment, until: datetime, why: str) -> DeliveryRecord:
    """Return the record of a question that waits without costing a try."""
    return record.model_copy(update={"commitment": commitment.model_copy(update={"next_at": until, "reason": why})})


def refused(
    record: DeliveryRecord, commitment: Commitment, policy: Retry, delay: timedelta, why: str, now: datetime
) -> DeliveryRecord:
    """Return the record after a request that came to nothing: it is made again, or has been made often enough."""
    at = now + delay
    expiry = policy.expiry(commitment.since)
    if commitment.tries >= policy.max_attempts or (expiry is not None and at > expiry):
        return failed(record, commitment, f"{why}; given up after {commitment.tries} requests", now)
    return _with(record, commitment, now, state=CommitmentState.DUE, next_at=at, reason=why, ended_at=None)


def silent(record: DeliveryRecord, commitment: Commitment, wait: timedelta, now: datetime) -> DeliveryRecord:
    """Return the record after the time in which the target should have said."""
    return failed(record, commitment, f"the target said nothing within {format_duration(wait)}", now)


def failed(record: DeliveryRecord, commitment: Commitment, why: str, now: datetime) -> DeliveryRecord:
    """Return the record of a delivery to which the target has not committed, and is not asked again."""
    return _with(record, commitment, now, state=CommitmentState.FAILED, next_at=None, reason=why[:1500], ended_at=now)


def answered(
    record: DeliveryRecord,
    transaction: str,
    committed: Iterable[int],
    refusals: Mapping[int, int],
    policy: Retry,
    delay: timedelta,
    now: datetime,
) -> DeliveryRecord:
    """Return the record after a result, or a part of one; the record itself if it says nothing to it.

    ``committed`` are positions, ``refusals`` Failure Reasons by position. What the target refuses it does not keep,
    whatever it said before, until it is asked again: a result that comes twice must not undo one that came between.
    """
    commitment = record.commitment
    if commitment is None or record.state is not DeliveryState.SUCCEEDED or transaction not in commitment.transactions:
        return record
    reasons = {**not_kept(commitment), **refusals}
    earlier = parse_ranges(commitment.refused)
    believed = set(committed) if transaction in last_request(commitment) else set(committed) - earlier
    kept = (parse_ranges(commitment.committed) | believed) - reasons.keys()
    by_reason: dict[str, set[int]] = {}
    for position, code in reasons.items():
        by_reason.setdefault(f"{code:04X}", set()).add(position)
    ranges = {code: format_ranges(positions) for code, positions in sorted(by_reason.items())}
    if (format_ranges(kept), ranges) == (commitment.committed, commitment.failed):
        return record
    left = format_ranges(earlier - kept)
    heard = commitment.model_copy(update={"committed": format_ranges(kept), "failed": ranges, "refused": left})
    if len(kept) >= record.instances:
        return _with(record, heard, now, state=CommitmentState.COMMITTED, next_at=None, reason="", ended_at=now)
    if len(kept) + len(reasons) < record.instances:
        return record.model_copy(update={"commitment": heard})
    why = f"{len(reasons)} of {record.instances} instances are not kept: {words(heard)}"
    if set(reasons.values()) <= PASSING:
        return refused(record, heard, policy, delay, why, now)
    return failed(record, heard, why, now)


def last_request(commitment: Commitment) -> tuple[str, ...]:
    """Return the transactions of the last request; none if none was made."""
    return commitment.transactions[-commitment.parts :]


def not_kept(commitment: Commitment) -> dict[int, int]:
    """Return the Failure Reason of each position that the target does not keep."""
    return {position: int(code, 16) for code, ranges in commitment.failed.items() for position in parse_ranges(ranges)}


def words(commitment: Commitment) -> str:
    """Return why instances are not kept, with how many of each."""
    return ", ".join(
        f"{len(parse_ranges(ranges))} {failure_words(int(code, 16))}" for code, ranges in commitment.failed.items()
    )


def uncommitted(commitment: Commitment, instances: Sequence[str]) -> list[Uncommitted]:
    """Return the first instances that are not kept, given the SOP instance UIDs as they were received, if known."""
    return [
        Uncommitted(index=position, sop_instance_uid=instances[position], code=code, reason=failure_words(code))
        for position, code in sorted(not_kept(commitment).items())[:LISTED]
        if position < len(instances)
    ]


def _with(record: DeliveryRecord, commitment: Commitment, now: datetime, **changes: object) -> DeliveryRecord:
    return record.model_copy(update={"commitment": commitment.model_copy(update=changes), "updated_at": now})
