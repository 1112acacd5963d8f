"""The watch over targets: breakers that open and close, pauses that begin and end, each said once for all dispatchers.

An outage is a record on the bus that every dispatcher follows; the next test of a target that is down is made by
whoever moves its time on. Events follow the records under derived ids, so that saying them again counts once.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import Final, TypeVar

from pydantic import BaseModel

from hermes_common import subjects
from hermes_common.config import Kind
from hermes_common.endpoints import Endpoint
from hermes_common.events import TargetDown, TargetPaused, TargetResumed, TargetUp
from hermes_common.ids import derived_id
from hermes_common.records import PauseRecord, TargetRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_common.targets import AnyTarget
from hermes_common.targettests import TargetTested
from hermes_dispatcher.core import breaking, pausing
from hermes_dispatcher.handlers.endpoints import Endpoints

log = logging.getLogger(__name__)

Record = TypeVar("Record", bound=BaseModel)
Test = Callable[[AnyTarget, str, timedelta, timedelta], Awaitable[TargetTested]]

LOOK: Final = timedelta(seconds=1)


class Watch:
    """Knows which targets are down, and finds out whether they still are."""

    def __init__(self, bus: Bus, config: ConfigView, test: Test) -> None:
        self._bus = bus
        self._config = config
        self._test = test
        self._down: dict[str, TargetRecord] = {}
        self._testing: dict[str, asyncio.Task[None]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._listeners: list[Callable[[], None]] = []
        self._endpoints = Endpoints(bus, config, test, self._changed)

    @property
    def down(self) -> Collection[str]:
        """The targets that are down."""
        return self._down.keys()

    @property
    def endpoints_down(self) -> Mapping[str, frozenset[str]]:
        """The endpoints that are down of targets that have several: their tokens, by slug."""
        return self._endpoints.down

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when a target goes down or comes back."""
        self._listeners.append(listener)

    async def judge(self, target: AnyTarget, endpoint: Endpoint) -> str | None:
        """Find out whether an endpoint that an attempt could not reach is down; return why, or None if it is alive.

        With the last endpoint the target is down.
        """
        if len(target.all_endpoints()) > 1:
            reason = await self._endpoints.judge(target, endpoint)
            await self._all_down(target)
            return reason
        async with self._locks[target.slug]:
            if (known := self._down.get(target.slug)) is not None:
                return known.reason
            tested = await self._test(target, endpoint.name, breaking.STEP, breaking.LONGEST)
            if tested.ok:
                return None
            return (await self._open(target, breaking.failure(tested))).reason

    async def _all_down(self, target: AnyTarget) -> None:
        """Have the target down, if all its endpoints are."""
        why = self._endpoints.why_all(target)
        if why is not None and target.slug not in self._down:
            await self._open(target, why)

    async def _open(self, target: AnyTarget, why: str) -> TargetRecord:
        record = breaking.opened(target.slug, new_id(), why, self._bus.now())
        with contextlib.suppress(ConflictError):  # another dispatcher was faster
            await self._bus.create(subjects.STATE, subjects.target_state(target.slug), record)
        log.warning("target %s is down: %s", target.slug, record.reason)
        self._now_down({**self._down, target.slug: record})
        return record

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch until the service stops."""
        await self._config.loaded.wait()
        while not stopping.is_set():
            try:
                await self._endpoints.look()
                await self._outages()
                await self._pauses()
            except BusUnavailableError as error:
                log.warning("the targets cannot be watched: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK.total_seconds())
        self._endpoints.stop()
        for task in self._testing.values():
            task.cancel()

    # -- outages

    async def _outages(self) -> None:
        found = await self._records("target", TargetRecord)
        self._now_down({slug: record for slug, (record, _) in found.items() if not record.is_up})
        for target in self._config.targets.targets:
            if len(target.all_endpoints()) > 1:
                await self._all_down(target)
        for slug, (record, revision) in found.items():
            if record.is_up:
                await self._ended(record, revision)
                continue
            known = self._config.targets.get(slug)
            if not record.said:
                await self._begun(record, revision)
            elif known is None:
                await self._over(record, revision, "it was removed from the configuration")
            elif len(known.all_endpoints()) > 1:
                if self._endpoints.why_all(known) is None:
                    await self._over(record, revision, "an endpoint is up again")
            elif breaking.is_due(record, self._bus.now()) and not known.is_paused(self._bus.now()):
                self._test_soon(known, record, revision)

    async def _over(self, record: TargetRecord, revision: int, reason: str) -> None:
        """End an outage without a test of its own."""
        gone = breaking.tested(record, "", self._bus.now())
        with contextlib.suppress(ConflictError):
            last = await self._bus.update(subjects.STATE, subjects.target_state(record.target), gone, revision)
            self._now_down({slug: one for slug, one in self._down.items() if slug != record.target})
            await self._ended(gone, last, reason)

    async def _begun(self, record: TargetRecord, revision: int) -> None:
        event = TargetDown(target=record.target, outage=record.outage, reason=record.reason)
        await self._bus.publish(event, derived_id("target", record.outage, "down"), record.since)
        said = record.model_copy(update={"said": True})
        with contextlib.suppress(ConflictError):
            await self._bus.update(subjects.STATE, subjects.target_state(record.target), said, revision)

    async def _ended(self, record: TargetRecord, revision: int, reason: str = "") -> None:
        event = TargetUp(target=record.target, outage=record.outage, down_since=record.since, reason=reason)
        await self._bus.publish(event, derived_id("target", record.outage, "up"))
        with contextlib.suppress(ConflictError):
            await self._bus.forget(subjects.STATE, subjects.target_state(record.target), revision)
        log.info("target %s is up again", record.target)

    def _test_soon(self, target: AnyTarget, record: TargetRecord, revision: int) -> None:
        running = self._testing.get(target.slug)
        if running is None or running.done():
            self._testing[target.slug] = asyncio.create_task(self._test_again(target, record, revision))

    async def _test_again(self, target: AnyTarget, record: TargetRecord, revision: int) -> None:
        key = subjects.target_state(target.slug)
        try:
            claimed = breaking.claimed(record, self._bus.now())
            revision = await self._bus.update(subjects.STATE, key, claimed, revision)
            tested = await self._test(target, "", breaking.STEP, breaking.LONGEST)
            after = breaking.tested(claimed, "" if tested.ok else breaking.failure(tested), self._bus.now())
            revision = await self._bus.update(subjects.STATE, key, after, revision)
            if after.is_up:
                self._now_down({slug: one for slug, one in self._down.items() if slug != target.slug})
                await self._ended(after, revision)
        except ConflictError:
            log.debug("another dispatcher tests target %s", target.slug)
        except BusUnavailableError as error:
            log.warning("the test of target %s cannot be noted: %s", target.slug, error)

    def _now_down(self, down: dict[str, TargetRecord]) -> None:
        is_changed = down.keys() != self._down.keys()
        self._down = down
        if is_changed:
            self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    # -- pauses

    async def _pauses(self) -> None:
        found = await self._records("pause", PauseRecord)
        said = {slug: record for slug, (record, _) in found.items()}
        for change in pausing.changes(self._config.targets, said, self._bus.now()):
            key = subjects.target_pause(change.record.target)
            with contextlib.suppress(ConflictError):
                match change:
                    case pausing.Began(record=record):
                        await self._bus.publish(_paused(record), _pause_id(record, "paused"))
                        await self._bus.create(subjects.STATE, key, record)
                    case pausing.Ended(record=record, by_itself=by_itself):
                        await self._bus.publish(self._resumed(record, by_itself), _pause_id(record, "resumed"))
                        await self._bus.forget(subjects.STATE, key, found[record.target][1])

    def _resumed(self, record: PauseRecord, by_itself: bool) -> TargetResumed:
        actor = "" if by_itself else self._config.revision(Kind.TARGETS).author
        reason = "its time was over" if by_itself else ""
        return TargetResumed(target=record.target, actor=actor, reason=reason, paused_since=record.since)

    async def _records(self, kind: str, model: type[Record]) -> dict[str, tuple[Record, int]]:
        found: dict[str, tuple[Record, int]] = {}
        for key in await self._bus.keys(subjects.STATE, f"{kind}.*"):
            loaded = await self._bus.load(subjects.STATE, key, model)
            if loaded is not None:
                found[key.partition(".")[2]] = loaded
        return found


def _paused(record: PauseRecord) -> TargetPaused:
    return TargetPaused(target=record.target, actor=record.actor, reason=record.reason, until=record.until)


def _pause_id(record: PauseRecord, verb: str) -> str:
    return derived_id("target", record.target, verb, record.since.isoformat())
