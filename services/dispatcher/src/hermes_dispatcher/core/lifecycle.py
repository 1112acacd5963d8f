"""The life of a delivery: every change of its record, as a function of the record.

    queued ----> sending ----> succeeded ...> (restart all) queued
      ^  ^          |  |
      |  |  given back |----> retrying --(due)--> queued
      |  +----------|  |
      |                +----> failed --(restart)--> queued
      +-- restart             failed --(dismiss)--> dismissed
    queued, sending, retrying, held --(cancel)--> cancelled --(restart)--> queued
    queued, sending, retrying --(hold)--> held --(release)--> queued
    all of them, and failed --(reroute)--> held, until its batch goes to the other target --> cancelled

Tries, which the retry policy counts, grow when an attempt begins out of ``queued``; an attempt that is given back
(service stop, store away, target down) gives its try back too. An attempt whose dispatcher died is taken over under the
same try when its lease has expired: a crash costs no try, but :data:`INTERRUPTIONS` in a row without progress end the
delivery.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from hermes_common.commands import DeliveryCommand
from hermes_common.durations import format_duration
from hermes_common.ranges import format_ranges, parse_ranges
from hermes_common.records import ENDED, DeliveryRecord, DeliveryState, Lease
from hermes_common.targets import Retry
from hermes_dispatcher.core import committing

INTERRUPTIONS = 5
"""Dispatchers that may die in a row over the same try before the delivery fails."""

REMEMBERED = 16
"""Commands that a record remembers."""


# -- work


@dataclass(frozen=True, slots=True)
class Begin:
    """An attempt begins; ``record`` is what is to be written first."""

    record: DeliveryRecord


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else works on it until then, unless they die."""

    until: datetime


@dataclass(frozen=True, slots=True)
class WaitsForTimer:
    """It waits for its next attempt: arm the timer and say so, again."""


@dataclass(frozen=True, slots=True)
class HasEnded:
    """Nothing is to be done, but to say again how it ended. Also one that is held: its release makes new work."""


@dataclass(frozen=True, slots=True)
class Worn:
    """Too many dispatchers died over it: ``record`` is the failed one."""

    record: DeliveryRecord


Next = Begin | Wait | WaitsForTimer | HasEnded | Worn


def on_work(record: DeliveryRecord, lease: Lease, now: datetime) -> Next:
    """Return what a work message means for a delivery, for the dispatcher that would hold ``lease``."""
    match record.state:
        case DeliveryState.QUEUED:
            return Begin(_begun(record, lease, now, tries=record.tries + 1, interruptions=0))
        case DeliveryState.SENDING:
            if record.lease is not None and record.lease.until > now:
                return Wait(record.lease.until)
            if record.interruptions + 1 >= INTERRUPTIONS:
                reason = f"{INTERRUPTIONS} dispatchers in a row ended in the middle of it without progress"
                return Worn(failed(record, reason, now))
            return Begin(_begun(record, lease, now, tries=record.tries, interruptions=record.interruptions + 1))
        case DeliveryState.RETRYING:
            return WaitsForTimer()
        case (
            DeliveryState.SUCCEEDED
            | DeliveryState.FAILED
            | DeliveryState.CANCELLED
            | DeliveryState.DISMISSED
            | DeliveryState.HELD
        ):
            return HasEnded()
        case _:
            assert_never(record.state)


def _begun(record: DeliveryRecord, lease: Lease, now: datetime, *, tries: int, interruptions: int) -> DeliveryRecord:
    return _changed(
        record,
        now,
        state=DeliveryState.SENDING,
        attempt=record.attempt + 1,
        tries=tries,
        interruptions=interruptions,
        lease=lease,
        next_attempt_at=None,
    )


def progressed(
    record: DeliveryRecord, delivered: str, refused: str, refusal: str, lease: Lease, *, is_altered: bool = False
) -> DeliveryRecord:
    """Return the record after a checkpoint: what the target has, what it refused, and the lease for longer.

    ``is_altered``: some of it was sent instead of what was received.
    """
    moved = delivered != record.delivered
    return record.model_copy(
        update={
            "delivered": delivered,
            "refused": refused,
            "refusal": refusal,
            "is_altered": record.is_altered or is_altered,
            "lease": lease,
            "interruptions": 0 if moved else record.interruptions,
        }
    )


def given_back(record: DeliveryRecord, now: datetime, reason: str = "") -> DeliveryRecord:
    """Return the record of an attempt that costs no try: it was interrupted, or the target as a whole is down."""
    return _changed(record, now, state=DeliveryState.QUEUED, tries=max(0, record.tries - 1), lease=None, reason=reason)


def succeeded(record: DeliveryRecord, now: datetime) -> DeliveryRecord:
    """Return the record of a delivery of which nothing is missing."""
    return _changed(record, now, state=DeliveryState.SUCCEEDED, lease=None, next_attempt_at=None, reason="")


def failed(record: DeliveryRecord, reason: str, now: datetime) -> DeliveryRecord:
    """Return the record of a delivery that a person has to look at."""
    return _changed(record, now, state=DeliveryState.FAILED, lease=None, next_attempt_at=None, reason=reason)


def retrying(record: DeliveryRecord, at: datetime, reason: str, now: datetime) -> DeliveryRecord:
    """Return the record of a delivery that waits for its next attempt."""
    return _changed(record, now, state=DeliveryState.RETRYING, lease=None, next_attempt_at=at, reason=reason)


def due(record: DeliveryRecord, now: datetime) -> DeliveryRecord:
    """Return the record of a delivery whose waiting is over."""
    return _changed(record, now, state=DeliveryState.QUEUED, next_attempt_at=None)


# -- age


def expiry(record: DeliveryRecord, policy: Retry) -> datetime | None:
    """Return when a delivery has been tried for long enough; None for never."""
    return policy.expiry(record.restarted_at or record.created_at)


def is_too_old(record: DeliveryRecord, policy: Retry, now: datetime) -> bool:
    """Return whether a delivery has been tried for long enough."""
    at = expiry(record, policy)
    return at is not None and at <= now


def too_old(policy: Retry, why: str) -> str:
    """Return the reason for which a delivery of that age has failed."""
    return f"{why}; given up after {format_duration(policy.max_age)}"


# -- commands


@dataclass(frozen=True, slots=True)
class Change:
    """The command is carried out by writing ``record``."""

    record: DeliveryRecord


@dataclass(frozen=True, slots=True)
class Refusal:
    """The command means nothing in the state in which the delivery is."""

    reason: str


_RESTARTABLE = frozenset(
    {DeliveryState.FAILED, DeliveryState.CANCELLED, DeliveryState.RETRYING, DeliveryState.DISMISSED}
)


def on_command(record: DeliveryRecord, command: DeliveryCommand, now: datetime) -> Change | Refusal:  # noqa: PLR0911, PLR0912  # a table: one case an action
    """Return what a command that has not been carried out yet does to a delivery."""
    state = record.state
    match command.action:
        case "restart":
            if (
                state in _RESTARTABLE
                or record.is_uncommitted
                or (state is DeliveryState.SUCCEEDED and command.scope == "all")
            ):
                return Change(_restarted(record, command, now))
        case "hold":
            if state not in ENDED and state is not DeliveryState.HELD and not _is_sent(record):
                return Change(_stopped(record, command, now, DeliveryState.HELD))
        case "release":
            if state is DeliveryState.HELD:
                return Change(_released(record, command, now))
        case "reroute":
            if command.to is None or command.to == record.target:
                return Refusal("it has to say which other target it goes to")
            if (state not in ENDED or state is DeliveryState.FAILED) and not _is_sent(record):
                return Change(_stopped(record, command, now, DeliveryState.HELD))
        case "cancel":
            if state not in ENDED and not _is_sent(record):
                return Change(_stopped(record, command, now, DeliveryState.CANCELLED))
        case "dismiss":
            if state is DeliveryState.FAILED or record.is_uncommitted:
                return Change(_commanded(record, command, now, state=DeliveryState.DISMISSED))
        case _:
            assert_never(command.action)
    return Refusal(f"a delivery that is {state.value} cannot be {_PAST[command.action]}")


_PAST = {
    "restart": "restarted (succeeded ones can be sent again as a whole)",
    "hold": "held",
    "release": "released",
    "cancel": "cancelled",
    "reroute": "rerouted",
    "dismiss": "dismissed",
}


def _restarted(record: DeliveryRecord, command: DeliveryCommand, now: datetime) -> DeliveryRecord:
    return _commanded(
        record,
        command,
        now,
        state=DeliveryState.QUEUED,
        generation=record.generation + 1,
        tries=0,
        interruptions=0,
        delivered="" if command.scope == "all" else _still_delivered(record),
        is_altered=record.is_altered and command.scope != "all",
        commitment=None,
        refused="",
        refusal="",
        reason="",
        restarted_at=now,
    )


def _still_delivered(record: DeliveryRecord) -> str:
    """Return what the target has, without what it says it does not keep."""
    if record.commitment is None:
        return record.delivered
    return format_ranges(parse_ranges(record.delivered) - committing.not_kept(record.commitment).keys())


def _released(record: DeliveryRecord, command: DeliveryCommand, now: datetime) -> DeliveryRecord:
    generation = record.generation + 1
    return _commanded(
        record, command, now, state=DeliveryState.QUEUED, generation=generation, interruptions=0, restarted_at=now
    )


def _is_sent(record: DeliveryRecord) -> bool:
    """Whether the target has said of every instance that it has it, though the end has not been written yet."""
    return len(parse_ranges(record.delivered)) >= record.instances > 0


def _stopped(record: DeliveryRecord, command: DeliveryCommand, now: datetime, state: DeliveryState) -> DeliveryRecord:
    """Return the record of a delivery that is to be sent no further; it keeps the lease of whoever is sending."""
    lease = record.lease if record.state in (DeliveryState.SENDING, DeliveryState.HELD) else None
    return _commanded(record, command, now, state=state).model_copy(update={"lease": lease})


def rerouted(record: DeliveryRecord, now: datetime) -> DeliveryRecord:
    """Return the record of a held delivery whose batch goes to another target."""
    return _changed(record, now, state=DeliveryState.CANCELLED, lease=None)


def _commanded(record: DeliveryRecord, command: DeliveryCommand, now: datetime, **changes: object) -> DeliveryRecord:
    commands = (*record.commands, command.command_id)[-REMEMBERED:]
    return _changed(record, now, actor=command.actor, commands=commands, lease=None, next_attempt_at=None, **changes)


def _changed(record: DeliveryRecord, now: datetime, **changes: object) -> DeliveryRecord:
    return record.model_copy(update={**changes, "updated_at": now})
