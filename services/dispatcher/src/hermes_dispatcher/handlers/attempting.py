"""One attempt: the sending thread, the checkpoints beside it, and what may end it early."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hermes_common.events import SentAs
from hermes_common.manifest import Manifest
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import TransientError, steps_to, without_words
from hermes_dispatcher.adapters import metrics
from hermes_dispatcher.adapters.objects import Item, Supply
from hermes_dispatcher.adapters.records import Hold
from hermes_dispatcher.adapters.targets.interface import Permit, Sender
from hermes_dispatcher.adapters.threads import in_daemon
from hermes_dispatcher.core.outcomes import Delivered, NotDelivered, Outcome, Trouble
from hermes_dispatcher.core.retrying import from_elsewhere, missing_of
from hermes_dispatcher.handlers.checkpointing import Checkpointer, Heard

log = logging.getLogger(__name__)

_KILLED = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Over:
    """The attempt came to its end; ``left`` has one entry for each missing instance."""

    left: Sequence[NotDelivered]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt stopped through no fault of the target: it is to be gone on with."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of an attempt; see the settings of the same names."""

    lease: timedelta
    checkpoint: timedelta
    grace: timedelta


def sent_instead(received: Item, sent: Item) -> SentAs | None:
    """Return what was sent instead of what was received; None if it is the same."""
    instance = sent.instance
    if (instance.digest, instance.transfer_syntax_uid) == (
        received.instance.digest,
        received.instance.transfer_syntax_uid,
    ):
        return None
    return SentAs(
        sop_instance_uid=instance.sop_instance_uid,
        series_uid=sent.series_uid,
        study_uid=sent.study_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        digest=instance.digest,
    )


class Attempt:
    """Sends what is missing of one delivery. FencedError when it is not ours any more."""

    def __init__(self, bus: Bus, hold: Hold, permit: Permit, pace: Pace, stopping: asyncio.Event) -> None:
        self._hold = hold
        self._now = bus.now
        self._pace = pace
        self._permit = permit
        self._stopping = stopping
        self._told_to_end = False
        self._checkpoints = Checkpointer(bus, hold, permit, pace.lease, pace.checkpoint, bus.now)

    async def run(self, manifest: Manifest, sender: Sender, supply: Supply) -> Over | Interrupted:
        """Send until the end, the stop, or the loss of the delivery; everything heard is durable on return."""
        done = {*self._checkpoints.delivered, *self._checkpoints.refused}
        items = [
            Item(position, manifest.study_uid, manifest.series_uid, instance)
            for position, instance in enumerate(manifest.instances)
            if position not in done
        ]
        checkpoints = asyncio.create_task(self._checkpoints.run())
        sending = asyncio.ensure_future(self._sending(sender, from_elsewhere(items, self._hold.record.tries), supply))
        try:
            await self._until_ended(sending, checkpoints)
            self._checkpoints.close()
            await checkpoints
        finally:
            self._permit.kill()
            checkpoints.cancel()
            await asyncio.gather(checkpoints, return_exceptions=True)
            if not sending.done():
                await asyncio.wait({sending}, timeout=_KILLED.total_seconds())
            self._permit.lingers = not sending.done()
        return self._end(sending, len(manifest.instances))

    def _sending(self, sender: Sender, items: Sequence[Item], supply: Supply) -> "asyncio.Future[NotDelivered | None]":
        target = self._hold.record.target
        received = {item.position: item for item in items}
        delivered, failed = (metrics.INSTANCES.labels(target, result) for result in ("delivered", "failed"))
        sent_octets = metrics.OCTETS.labels(target)

        def report(item: Item, outcome: Outcome, octets: int) -> None:
            crash_point("dispatcher.answered")
            asked = received[item.position]
            heard = Heard(
                item.position, asked.instance.sop_instance_uid, outcome, self._now(), sent_instead(asked, item)
            )
            if isinstance(outcome, Delivered):
                delivered.inc()
                sent_octets.inc(octets)
            else:
                failed.inc()
            self._checkpoints.hear(heard)
            self._checkpoints.window.take(lambda: self._permit.may_send)

        def send() -> NotDelivered | None:
            return sender.send(items, supply, report, self._permit) if items else None

        return in_daemon(f"send-{target}", send)

    async def _until_ended(
        self, sending: "asyncio.Future[NotDelivered | None]", checkpoints: "asyncio.Task[None]"
    ) -> None:
        stop: asyncio.Future[Any] = asyncio.create_task(self._stopping.wait())
        ended: set[asyncio.Future[Any]] = {sending, checkpoints}
        try:
            await asyncio.wait({stop, *ended}, return_when=asyncio.FIRST_COMPLETED)
            if checkpoints.done():
                checkpoints.result()
            if not sending.done():
                self._told_to_end = True
                self._permit.stop()
                await asyncio.wait(
                    ended,
                    timeout=self._pace.grace.total_seconds(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if not sending.done():
                self._permit.kill()
                await asyncio.wait({sending}, timeout=_KILLED.total_seconds())
        finally:
            stop.cancel()

    def _end(self, sending: "asyncio.Future[NotDelivered | None]", total: int) -> Over | Interrupted:
        if not sending.done():
            sending.cancel()
            return Interrupted("the service stops, and the instance under way did not end in time")
        error = sending.exception()
        if isinstance(error, TransientError):
            return Interrupted(str(error))
        delivered, failures = self._checkpoints.delivered, self._checkpoints.failures
        if error is not None:
            log.error("delivery %s: the sender failed\n%s", self._hold.record.delivery_id, steps_to(error))
            otherwise = NotDelivered(Trouble.INTERNAL, f"an error of ours: {without_words(error)}")
        else:
            found = sending.result()
            if len(delivered) + len(failures) < total and (found is None or self._told_to_end):
                return Interrupted("the service stops" if self._told_to_end else "the lease ran out")
            otherwise = found or NotDelivered(Trouble.INTERNAL, "it was not tried")
        return Over(missing_of(total, delivered, failures, otherwise))
