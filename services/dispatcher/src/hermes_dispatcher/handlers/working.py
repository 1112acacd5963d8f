"""A work message: one attempt of one delivery.

Take the lease, send what is missing, write how it ended, say so, and only then acknowledge. Whatever breaks off in
between leaves a record from which the next dispatcher goes on.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta

from pydantic import ValidationError

from hermes_common.commands import DeliveryWork
from hermes_common.manifest import Manifest
from hermes_common.records import DeliveryRecord, Lease
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Done, Message, Outcome, Park, RetryAfter
from hermes_common.targets import AnyTarget
from hermes_dispatcher.adapters import metrics
from hermes_dispatcher.adapters.changed import Supplies
from hermes_dispatcher.adapters.objects import ManifestUnusableError, Objects
from hermes_dispatcher.adapters.records import Deliveries, FencedError, Hold
from hermes_dispatcher.adapters.targets.interface import Permit, Sender
from hermes_dispatcher.core import breaking, lifecycle, retrying, saying
from hermes_dispatcher.handlers.attempting import Attempt, Interrupted, Over, Pace
from hermes_dispatcher.handlers.speaking import Speaker
from hermes_dispatcher.handlers.watching import Watch

log = logging.getLogger(__name__)

APPEARS = 8
"""Times that a record is looked for before its work is parked."""

_SOON = timedelta(seconds=2)
_AT_ONCE = timedelta(milliseconds=50)


class Worker:
    """Handles the work messages of every target; ``sender_of`` makes what sends to one."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        objects: Objects,
        supplies: Supplies,
        sender_of: Callable[[AnyTarget], Sender],
        watch: Watch,
        pace: Pace,
        stop: asyncio.Event,
    ) -> None:
        self._bus = bus
        self._config = config
        self._objects = objects
        self._supplies = supplies
        self._sender_of = sender_of
        self._watch = watch
        self._pace = pace
        self._stop = stop
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)

    async def handle(self, message: Message) -> Outcome:
        """Work on the delivery that a message names."""
        try:
            delivery_id = DeliveryWork.model_validate_json(message.data).delivery_id
        except ValidationError as error:
            return Park(f"this is no work: {error.error_count()} mistakes")
        if self._stop.is_set():
            return RetryAfter(_AT_ONCE, "the service stops")
        found = await self._deliveries.load(delivery_id)
        if found is None:
            if message.attempt < APPEARS:
                return RetryAfter(_SOON, "its record is missing")
            return Park(f"there is no record of delivery {delivery_id}")
        return await self._next(*found)

    async def _next(self, record: DeliveryRecord, revision: int) -> Outcome:
        lease = Lease(owner=f"{self._bus.name}/{new_id()}", until=now() + self._pace.lease)
        match lifecycle.on_work(record, lease, now()):
            case lifecycle.HasEnded() | lifecycle.WaitsForTimer():
                await self._speaker.standing(record)
                return Done()
            case lifecycle.Wait(until=until):
                return RetryAfter(until - now() + _AT_ONCE, "another dispatcher works on it")
            case lifecycle.Worn(record=worn):
                return await self._fail(worn, revision)
            case lifecycle.Begin(record=begun):
                return await self._begin(record, begun, revision, lease)

    async def _begin(self, record: DeliveryRecord, begun: DeliveryRecord, revision: int, lease: Lease) -> Outcome:
        target = await self._target(record.target)
        if target is None:
            return await self._fail(
                lifecycle.failed(record, f"target {record.target} is not configured", now()), revision
            )
        if target.is_paused(now()):
            return RetryAfter(_SOON, "the target is paused")
        if target.slug in self._watch.down:
            return RetryAfter(_SOON, "the target is down")
        try:
            manifest = await self._objects.manifest(record.manifest_key)
        except ManifestUnusableError as error:
            return await self._fail(lifecycle.failed(record, str(error), now()), revision)
        permit = Permit()
        permit.extend(time.monotonic(), lease.until - now())
        hold = Hold(self._deliveries, begun, await self._deliveries.change(begun, revision), lease.owner)
        try:
            return await self._attempt(hold, permit, manifest, target)
        except FencedError as error:
            log.info("%s; its attempt %d ends here", error, begun.attempt)
            return RetryAfter(_SOON, str(error))

    async def _target(self, slug: str) -> AnyTarget | None:
        """Return a target; one that is not known may have been configured a moment ago."""
        known = self._config.targets.get(slug)
        if known is None:
            await self._config.refresh()
            known = self._config.targets.get(slug)
        return known

    async def _fail(self, failed: DeliveryRecord, revision: int) -> Outcome:
        await self._deliveries.change(failed, revision)
        log.warning("delivery %s failed: %s", failed.delivery_id, failed.reason)
        await self._speaker.standing(failed)
        return Done()

    async def _attempt(self, hold: Hold, permit: Permit, manifest: Manifest, target: AnyTarget) -> Outcome:
        began = time.monotonic()
        await self._bus.publish(*saying.started(hold.record, self._bus.name))
        attempt = Attempt(self._bus, hold, permit, self._pace, self._stop)
        result = await attempt.run(manifest, self._sender_of(target), self._supplies.of(target))
        end = await self._end(hold, result, manifest, target)
        metrics.ATTEMPTS.labels(target.slug, hold.record.state.value).observe(time.monotonic() - began)
        return end

    async def _wait(self, hold: Hold, down: str) -> Outcome:
        """Give an attempt back whose target is down: its work waits in the queue, which is not read until then."""
        await hold.write(lifecycle.given_back(hold.record, now(), f"the target is down: {down}"))
        await self._speaker.waiting(hold.record)
        return RetryAfter(_SOON, "the target is down")

    async def _end(self, hold: Hold, result: Over | Interrupted, manifest: Manifest, target: AnyTarget) -> Outcome:
        """Write how an attempt ended, then say so."""
        record = hold.record
        match result:
            case Interrupted(reason=reason):
                await hold.write(lifecycle.given_back(record, now()))
                log.info("delivery %s: attempt %d is given back: %s", record.delivery_id, record.attempt, reason)
                return RetryAfter(_AT_ONCE if self._stop.is_set() else _SOON, reason)
            case Over(left=left):
                if breaking.suspicion(left) is not None and (down := await self._watch.judge(target)) is not None:
                    return await self._wait(hold, down)
                jitter = random.random()  # noqa: S311  # spreads attempts; nothing depends on its being unforeseeable
                decision = retrying.decide(target.retry, record.tries, left, len(manifest.instances), now(), jitter)
        match decision:
            case retrying.Succeed():
                await hold.write(lifecycle.succeeded(record, now()))
            case retrying.TryAgain(at=at, reason=reason):
                await hold.write(lifecycle.retrying(record, at, reason, now()))
            case retrying.GiveUp(reason=reason):
                await hold.write(lifecycle.failed(record, reason, now()))
        log.info(
            "delivery %s to %s: %s %s", record.delivery_id, target.slug, hold.record.state.value, hold.record.reason
        )
        await self._speaker.standing(hold.record)
        return Done()
