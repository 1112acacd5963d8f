"""Checkpoints: what the target has said becomes an event, and only then part of the live record.

One checkpoint is under way at a time. The sending thread runs at most a window of instances ahead of what is durable
(``core.window``): that many, and no more, are sent again after a crash. Each checkpoint renews the lease; without
outcomes that happens every few seconds, so that a sender learns soon that its delivery was cancelled.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hermes_common.events import InstanceOutcome, SentAs
from hermes_common.ranges import Positions
from hermes_common.records import Lease
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.crashpoints import crash_point
from hermes_dispatcher.adapters.records import Hold, patiently
from hermes_dispatcher.adapters.targets.interface import Permit
from hermes_dispatcher.adapters.threads import Window, on_loop
from hermes_dispatcher.core import lifecycle, saying
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble
from hermes_dispatcher.core.window import window

LARGEST = 500

_BEATS = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """The outcome of one instance, as the sending thread reported it."""

    position: int
    sop_instance_uid: str
    outcome: Outcome
    at: datetime
    sent: SentAs | None = None
    """What was sent instead of what was received, if it was changed on the way."""


class Checkpointer:
    """Makes the outcomes of one attempt durable. :meth:`run` until :meth:`close`; FencedError ends it."""

    def __init__(
        self, bus: Bus, hold: Hold, permit: Permit, lease: timedelta, pause: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._bus = bus
        self._hold = hold
        self._permit = permit
        self._lease = lease
        self._pause = pause.total_seconds()
        self._clock = clock
        self._pending: list[Heard] = []
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closing = False
        size = window(hold.record.instances, hold.record.octets)
        self.window = Window(size)
        self._enough = size // 2
        self._number = 0
        self._is_altered = False
        self._refused = Positions(hold.record.refused)
        self.delivered = Positions(hold.record.delivered)
        """Positions of which the target has said that it has them, and which are in the record."""
        self.failures: dict[int, NotDelivered] = {
            position: NotDelivered(Trouble.REFUSED, hold.record.refusal) for position in self._refused
        }

    @property
    def refused(self) -> frozenset[int]:
        """Positions that the target refused for good."""
        return frozenset(self._refused)

    def hear(self, heard: Heard) -> None:
        """Take an outcome, in the sending thread; the event loop is woken only where it has to be."""
        self._pending.append(heard)
        if len(self._pending) >= self._enough and not self._hurry.is_set():
            on_loop(self._loop, self._hasten)
        elif not self._wake.is_set():
            on_loop(self._loop, self._wake.set)

    def _hasten(self) -> None:
        self._wake.set()
        self._hurry.set()

    def close(self) -> None:
        """Have :meth:`run` end when everything heard is durable."""
        self._closing = True
        self._wake.set()
        self._hurry.set()

    async def run(self) -> None:
        """Make checkpoints until closed. Raises FencedError, or BusUnavailableError when patience has ended."""
        beat = self._lease.total_seconds() / _BEATS
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), beat)
            self._wake.clear()
            self._hurry.clear()
            closing = self._closing
            await self._checkpoint()
            if self._pending:
                self._wake.set()
            elif closing:
                return
            if not self._closing and len(self._pending) < self._enough:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._pause)

    async def _checkpoint(self) -> None:
        batch = self._pending[:LARGEST]
        if batch:
            if self._permit.lapsed:
                await self._renew()
            self._number += 1
            outcomes = [_outcome(heard) for heard in batch]
            token = self._hold.owner
            event, event_id = saying.progressed(self._hold.record, outcomes, token, self._number)
            await patiently(lambda: self._bus.publish(event, event_id))
            crash_point("dispatcher.progress-said")
            self._account(batch)
        await self._renew()
        if batch:
            crash_point("dispatcher.progress-recorded")
        del self._pending[: len(batch)]
        self.window.give(len(batch))

    def _account(self, batch: list[Heard]) -> None:
        for heard in batch:
            match heard.outcome:
                case Delivered():
                    self._is_altered |= heard.sent is not None
                    self.delivered.add(heard.position)
                    self.failures.pop(heard.position, None)
                case NotDelivered(trouble=trouble):
                    self.failures[heard.position] = heard.outcome
                    if trouble is Trouble.REFUSED:
                        self._refused.add(heard.position)

    async def _renew(self) -> None:
        since = time.monotonic()
        lease = Lease(owner=self._hold.owner, until=self._clock() + self._lease)
        refusals = (self.failures[position].reason for position in sorted(self._refused))
        record = lifecycle.progressed(
            self._hold.record,
            self.delivered.text(),
            self._refused.text(),
            next(refusals, ""),
            lease,
            is_altered=self._is_altered,
        )
        await self._hold.write(record)
        self._permit.extend(since, self._lease)


def _outcome(heard: Heard) -> InstanceOutcome:
    match heard.outcome:
        case Delivered(status=status, note=note):
            result, reason = "delivered", note
        case NotDelivered(reason=reason, status=status):
            result = "failed"
    return InstanceOutcome.model_validate(
        {
            "index": heard.position,
            "sop_instance_uid": heard.sop_instance_uid,
            "result": result,
            "status": status,
            "reason": reason,
            "at": heard.at,
            "sent": heard.sent,
        }
    )
