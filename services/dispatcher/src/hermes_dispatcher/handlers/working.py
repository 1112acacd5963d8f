"""A work message: one attempt of one delivery.

Take the lease, send what is missing, write how it ended, say so, and only then acknowledge. Whatever breaks off in
between leaves a record from which the next dispatcher goes on.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from hermes_common.commands import DeliveryWork
from hermes_common.endpoints import Endpoint
from hermes_common.manifest import Manifest
from hermes_common.records import DeliveryRecord, Lease
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Done, Message, Outcome, Park, RetryAfter
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.targets import AnyTarget, strategy_of
from hermes_dispatcher.adapters import metrics, traces
from hermes_dispatcher.adapters.changed import Supplies
from hermes_dispatcher.adapters.manifests import Manifests, ManifestUnusableError
from hermes_dispatcher.adapters.objects import Supply
from hermes_dispatcher.adapters.places import Choose
from hermes_dispatcher.adapters.records import Deliveries, FencedError, Hold
from hermes_dispatcher.adapters.targets.interface import Permit, SenderOf
from hermes_dispatcher.core import breaking, committing, lifecycle, retrying, saying
from hermes_dispatcher.core.choosing import Choice, choose
from hermes_dispatcher.handlers.attempting import Attempt, Interrupted, Over, Pace
from hermes_dispatcher.handlers.gate import Turn
from hermes_dispatcher.handlers.speaking import Speaker
from hermes_dispatcher.handlers.stopping import Running
from hermes_dispatcher.handlers.watching import Watch

log = logging.getLogger(__name__)

APPEARS = 8
"""Times that a record is looked for before its work is parked."""

_SOON = timedelta(seconds=2)
_AT_ONCE = timedelta(milliseconds=50)
_FULL = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Way:
    """Where an attempt goes, and on which turn."""

    target: AnyTarget
    endpoint: Endpoint
    turn: Turn


class Worker:
    """Handles the work messages of every target; ``sender_of`` makes what sends to one."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        manifests: Manifests,
        supplies: Supplies,
        sender_of: SenderOf,
        watch: Watch,
        pace: Pace,
        stop: asyncio.Event,
        running: Running,
    ) -> None:
        self._bus = bus
        self._config = config
        self._manifests = manifests
        self._supplies = supplies
        self._sender_of = sender_of
        self._watch = watch
        self._pace = pace
        self._stop = stop
        self._running = running
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)

    async def handle(self, message: Message, turn: Turn) -> Outcome:
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
        return await self._next(*found, turn)

    async def _next(self, record: DeliveryRecord, revision: int, turn: Turn) -> Outcome:
        lease = Lease(owner=f"{self._bus.name}/{new_id()}", until=self._bus.now() + self._pace.lease)
        match lifecycle.on_work(record, lease, self._bus.now()):
            case lifecycle.HasEnded() | lifecycle.WaitsForTimer():
                await self._speaker.standing(record)
                return Done()
            case lifecycle.Wait(until=until):
                wait = min(until - self._bus.now(), self._pace.lease)  # a clock that was set back makes no lease longer
                return RetryAfter(wait + _AT_ONCE, "another dispatcher works on it")
            case lifecycle.Worn(record=worn):
                return await self._fail(worn, revision)
            case lifecycle.Begin(record=begun):
                return await self._begin(record, begun, revision, lease, turn)

    async def _begin(
        self, record: DeliveryRecord, begun: DeliveryRecord, revision: int, lease: Lease, turn: Turn
    ) -> Outcome:
        target = await self._target(record.target)
        if target is None:
            return await self._fail(
                lifecycle.failed(record, f"target {record.target} is not configured", self._bus.now()), revision
            )
        if (why := self._is_resting(target)) is not None:
            return RetryAfter(_SOON, why)
        try:
            manifest = await self._manifests.manifest(record.manifest_key)
        except ManifestUnusableError as error:
            return await self._fail(lifecycle.failed(record, str(error), self._bus.now()), revision)
        endpoint = await turn.settle(self._whose_turn(target, record.study_uid))
        if endpoint is None:
            return RetryAfter(_FULL, "the endpoint whose turn it is has no place free")
        return await self._hold(begun, revision, lease, manifest, Way(target, endpoint, turn))

    def _is_resting(self, target: AnyTarget) -> str | None:
        if target.is_paused(self._bus.now()):
            return "the target is paused"
        return "the target is down" if target.slug in self._watch.down else None

    async def _hold(self, begun: DeliveryRecord, revision: int, lease: Lease, manifest: Manifest, way: Way) -> Outcome:
        until = self._bus.now() + self._pace.lease  # what came before has taken its time
        lease = lease.model_copy(update={"until": until})
        begun = begun.model_copy(update={"lease": lease})
        permit = Permit(lambda: way.turn.place.is_held)
        permit.extend(time.monotonic(), lease.until - self._bus.now())
        hold = Hold(self._deliveries, begun, await self._deliveries.change(begun, revision), lease.owner)
        crash_point("dispatcher.leased")
        try:
            return await self._attempt(hold, permit, manifest, way)
        except FencedError as error:
            log.info("%s; its attempt %d ends here", error, begun.attempt)
            return RetryAfter(_SOON, str(error))

    def _whose_turn(self, target: AnyTarget, study_uid: str) -> Choose:
        endpoints, down = target.all_endpoints(), self._watch.endpoints_down.get(target.slug, frozenset())

        def chosen(busy: Mapping[str, int], owed: Mapping[str, int]) -> Choice | None:
            return choose(strategy_of(target), endpoints, down, busy, owed, study_uid)

        return chosen

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

    async def _attempt(self, hold: Hold, permit: Permit, manifest: Manifest, way: Way) -> Outcome:
        with traces.attempt(hold.record, way.endpoint.name):
            return await self._traced(hold, permit, manifest, way)

    async def _traced(self, hold: Hold, permit: Permit, manifest: Manifest, way: Way) -> Outcome:
        began = time.monotonic()
        await self._bus.publish(*saying.started(hold.record, self._bus.name, way.endpoint.name))
        crash_point("dispatcher.started")
        attempt = Attempt(self._bus, hold, permit, self._pace, self._stop)
        supply: Supply = self._supplies.of(way.target)
        if way.turn.throttle is not None:
            supply = way.turn.throttle.over(supply, lambda: not permit.is_killed)
        with self._running.attempt(hold.owner, permit):
            result = await attempt.run(manifest, self._sender_of(way.target, way.endpoint.name), supply)
        end = await self._end(hold, result, manifest, way)
        metrics.ATTEMPTS.labels(way.target.slug, hold.record.state.value).observe(time.monotonic() - began)
        return end

    async def _wait(self, hold: Hold, way: Way, down: str) -> Outcome:
        """Give an attempt back whose endpoint is down: its work waits in the queue, which is read if others are up."""
        is_whole = way.target.slug in self._watch.down
        what = "the target" if is_whole else f"endpoint {way.endpoint.name}"
        await hold.write(lifecycle.given_back(hold.record, self._bus.now(), f"{what} is down: {down}"))
        await self._speaker.waiting(hold.record)
        return RetryAfter(_SOON if is_whole else _AT_ONCE, f"{what} is down")

    async def _end(self, hold: Hold, result: Over | Interrupted, manifest: Manifest, way: Way) -> Outcome:
        """Write how an attempt ended, then say so."""
        record, target = hold.record, way.target
        match result:
            case Interrupted(reason=reason):
                await hold.write(lifecycle.given_back(record, self._bus.now()))
                log.info("delivery %s: attempt %d is given back: %s", record.delivery_id, record.attempt, reason)
                return RetryAfter(_AT_ONCE if self._stop.is_set() else _SOON, reason)
            case Over(left=left):
                suspect = breaking.suspicion(left) is not None
                if suspect and (down := await self._watch.judge(target, way.endpoint)) is not None:
                    return await self._wait(hold, way, down)
                expiry = lifecycle.expiry(record, target.retry)
                jitter = random.random()  # noqa: S311  # spreads attempts; nothing depends on its being unforeseeable
                total = len(manifest.instances)
                decision = retrying.decide(target.retry, record.tries, left, total, self._bus.now(), jitter, expiry)
        match decision:
            case retrying.Succeed():
                await hold.write(committing.owed(lifecycle.succeeded(record, self._bus.now()), target, self._bus.now()))
                crash_point("dispatcher.succeeded")
            case retrying.TryAgain(at=at, reason=reason):
                await hold.write(lifecycle.retrying(record, at, reason, self._bus.now()))
                crash_point("dispatcher.retrying")
            case retrying.GiveUp(reason=reason):
                await hold.write(lifecycle.failed(record, reason, self._bus.now()))
                crash_point("dispatcher.failed")
        log.info(
            "delivery %s to %s: %s %s", record.delivery_id, target.slug, hold.record.state.value, hold.record.reason
        )
        await self._speaker.standing(hold.record)
        crash_point("dispatcher.end-said")
        return Done()
