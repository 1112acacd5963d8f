"""What follows from the state of a record: timers, work, events. Doing it again has the effect of doing it once."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from hermes_common import subjects
from hermes_common.commands import DeliveryWork
from hermes_common.records import DeliveryRecord, DeliveryState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.crashpoints import crash_point
from hermes_dispatcher.core import saying

_SOONEST = timedelta(seconds=1)
"""A timer is not armed for an instant that may have passed when the server reads it."""

_FOR = "for"
"""What a timer says besides: the instant in the record that it was armed for."""

_EARLY = timedelta(seconds=2)

TIMERS = (subjects.delivery_timer("*"), subjects.commitment_timer("*"))
"""Patterns of every timer that is armed here."""

_LATER = timedelta(minutes=1)
"""From one look at a delivery that is too old to the next."""


def _waits_for(at: datetime) -> dict[str, str | int]:
    return {_FOR: at.isoformat()}


def is_over(due: bytes, at: datetime | None, present: datetime) -> bool:
    """Return whether a timer that has fired ends the wait until ``at``, which a record says.

    It does if it was armed for that wait, whatever any clock says by now. A timer of the release before does not say
    what it was armed for: there the present instant decides.
    """
    try:
        said = json.loads(due or b"{}").get(_FOR)
        meant = None if said is None else datetime.fromisoformat(said)
    except (ValueError, TypeError, AttributeError):
        meant = None
    if at is None or meant is None:
        return at is None or at <= present + _EARLY
    return meant == at


class Speaker:
    """Publishes what a record says."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def standing(self, record: DeliveryRecord) -> None:
        """Say where a delivery stands; one that waits for its next attempt gets its timer first."""
        if record.state is DeliveryState.RETRYING and record.next_attempt_at is not None:
            at = max(record.next_attempt_at, self._bus.now() + _SOONEST)
            timer, due = subjects.delivery_timer(record.delivery_id), subjects.delivery_due(record.delivery_id)
            await self._bus.arm_at(timer, due, at, _waits_for(record.next_attempt_at))
            crash_point("dispatcher.wait-armed")
        await self.await_commitment(record)
        said = saying.standing(record)
        if said is not None:
            await self._bus.publish(*said)

    async def await_commitment(self, record: DeliveryRecord, not_before: datetime | None = None) -> None:
        """Have the storage commitment of a delivery that has arrived looked at in time, if it is asked for."""
        commitment = record.commitment
        if record.state is DeliveryState.SUCCEEDED and commitment is not None and commitment.next_at is not None:
            at = max(commitment.next_at, not_before or self._bus.now() + _SOONEST)
            timer, due = subjects.commitment_timer(record.delivery_id), subjects.commitment_due(record.delivery_id)
            await self._bus.arm_at(timer, due, at, _waits_for(commitment.next_at))

    async def commitment_requested(self, record: DeliveryRecord, transaction: str, instances: int) -> None:
        """Say that a target has taken a request for storage commitment."""
        await self._bus.publish(*saying.commitment_requested(record, transaction, instances))

    async def commitment(self, record: DeliveryRecord, instances: Sequence[str]) -> None:
        """Say how the question of storage commitment ended, or have it looked at again."""
        await self.await_commitment(record)
        said = saying.commitment(record, instances)
        if said is not None:
            await self._bus.publish(*said)

    async def await_expiry(self, record: DeliveryRecord, at: datetime) -> None:
        """Have a delivery that goes back into the queue looked at when it is too old, should it still be there."""
        timer = subjects.delivery_timer(record.delivery_id)
        await self._bus.arm_at(timer, subjects.delivery_due(record.delivery_id), max(at, self._bus.now() + _LATER))

    async def waiting(self, record: DeliveryRecord) -> None:
        """Say that a delivery waits for its target, which is down."""
        await self._bus.publish(*saying.waiting(record))

    async def enqueue(self, record: DeliveryRecord) -> None:
        """Put the work of a queued delivery into the queue of its target."""
        work = DeliveryWork(delivery_id=record.delivery_id)
        await self._bus.enqueue(
            subjects.delivery_work(record.target, record.priority.value), work, saying.work_id(record)
        )
