"""The watch over the endpoints of targets that have several: a breaker each, like that of a target (ADR 0008, 0018).

A target with one address has no record here: its own breaker is that of its endpoint.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from hermes_common import subjects
from hermes_common.endpoints import Endpoint
from hermes_common.events import TargetEndpointDown, TargetEndpointUp
from hermes_common.ids import derived_id
from hermes_common.records import EndpointRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_common.targets import AnyTarget
from hermes_common.targettests import TargetTested
from hermes_dispatcher.core import breaking

log = logging.getLogger(__name__)

TestEndpoint = Callable[[AnyTarget, str, timedelta, timedelta], Awaitable[TargetTested]]
Key = tuple[str, str]
"""Slug of the target and token of the endpoint."""


class Endpoints:
    """Knows which endpoints are down, and finds out whether they still are. ``changed`` is called when that changes."""

    def __init__(self, bus: Bus, config: ConfigView, test: TestEndpoint, changed: Callable[[], None]) -> None:
        self._bus = bus
        self._config = config
        self._test = test
        self._changed = changed
        self._down: dict[Key, EndpointRecord] = {}
        self._testing: dict[Key, asyncio.Task[None]] = {}
        self._locks: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def down(self) -> Mapping[str, frozenset[str]]:
        """The tokens of the endpoints that are down, by the slug of their target."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for slug, token in self._down:
            found[slug].add(token)
        return {slug: frozenset(tokens) for slug, tokens in found.items()}

    def why_all(self, target: AnyTarget) -> str | None:
        """Return why every endpoint of a target is down, or None if one is up."""
        endpoints = target.all_endpoints()
        found = [self._down.get((target.slug, each.token)) for each in endpoints]
        records = [record for record in found if record is not None]
        if len(records) < len(endpoints):
            return None
        return "; ".join(f"{record.endpoint}: {record.reason}" for record in records)

    async def judge(self, target: AnyTarget, endpoint: Endpoint) -> str | None:
        """Find out whether an endpoint that an attempt could not reach is down; return why, or None if it is alive."""
        key = (target.slug, endpoint.token)
        async with self._locks[key]:
            if (known := self._down.get(key)) is not None:
                return known.reason
            tested = await self._test(target, endpoint.name, breaking.STEP, breaking.LONGEST)
            if tested.ok:
                return None
            plain = breaking.opened(target.slug, new_id(), breaking.failure(tested), self._bus.now())
            record = EndpointRecord(**plain.model_dump(), endpoint=endpoint.name)
            with contextlib.suppress(ConflictError):  # another dispatcher was faster
                await self._bus.create(subjects.STATE, subjects.endpoint_state(*key), record)
            log.warning("endpoint %s of target %s is down: %s", endpoint.name, target.slug, record.reason)
            self._now_down({**self._down, key: record})
            return record.reason

    async def look(self) -> None:
        """Follow the records, and test again what is due. BusUnavailableError with the bus away."""
        found: dict[Key, tuple[EndpointRecord, int]] = {}
        for name in await self._bus.keys(subjects.STATE, "endpoint.*.*"):
            loaded = await self._bus.load(subjects.STATE, name, EndpointRecord)
            if loaded is not None:
                _, slug, token = name.split(".")
                found[slug, token] = loaded
        self._now_down({key: record for key, (record, _) in found.items() if not record.is_up})
        for key, (record, revision) in found.items():
            await self._one(key, record, revision)

    def stop(self) -> None:
        """Begin no further test, and wait for none."""
        for task in self._testing.values():
            task.cancel()

    async def _one(self, key: Key, record: EndpointRecord, revision: int) -> None:
        target = self._config.targets.get(key[0])
        several = () if target is None else target.all_endpoints()
        endpoint = next((each for each in several if each.token == key[1]), None) if len(several) > 1 else None
        if record.is_up:
            await self._ended(key, record, revision)
        elif not record.said:
            await self._begun(key, record, revision)
        elif target is None or endpoint is None:
            gone = breaking.tested(record, "", self._bus.now())
            with contextlib.suppress(ConflictError):
                last = await self._bus.update(subjects.STATE, subjects.endpoint_state(*key), gone, revision)
                await self._ended(key, record, last, "it was removed from the configuration")
        elif breaking.is_due(record, self._bus.now()) and not target.is_paused(self._bus.now()):
            running = self._testing.get(key)
            if running is None or running.done():
                self._testing[key] = asyncio.create_task(self._test_again(key, target, endpoint, record, revision))

    async def _begun(self, key: Key, record: EndpointRecord, revision: int) -> None:
        event = TargetEndpointDown(
            target=record.target, endpoint=record.endpoint, outage=record.outage, reason=record.reason
        )
        await self._bus.publish(event, derived_id("endpoint", record.outage, "down"), record.since)
        said = record.model_copy(update={"said": True})
        with contextlib.suppress(ConflictError):
            await self._bus.update(subjects.STATE, subjects.endpoint_state(*key), said, revision)

    async def _ended(self, key: Key, record: EndpointRecord, revision: int, reason: str = "") -> None:
        event = TargetEndpointUp(
            target=record.target,
            endpoint=record.endpoint,
            outage=record.outage,
            down_since=record.since,
            reason=reason,
        )
        await self._bus.publish(event, derived_id("endpoint", record.outage, "up"))
        with contextlib.suppress(ConflictError):
            await self._bus.forget(subjects.STATE, subjects.endpoint_state(*key), revision)
        log.info("endpoint %s of target %s is up again", record.endpoint, record.target)

    async def _test_again(
        self, key: Key, target: AnyTarget, endpoint: Endpoint, record: EndpointRecord, revision: int
    ) -> None:
        name = subjects.endpoint_state(*key)
        try:
            claimed = breaking.claimed(record, self._bus.now())
            revision = await self._bus.update(subjects.STATE, name, claimed, revision)
            tested = await self._test(target, endpoint.name, breaking.STEP, breaking.LONGEST)
            after = breaking.tested(claimed, "" if tested.ok else breaking.failure(tested), self._bus.now())
            revision = await self._bus.update(subjects.STATE, name, after, revision)
            if after.is_up:
                self._now_down({each: one for each, one in self._down.items() if each != key})
                await self._ended(key, after, revision)
        except ConflictError:
            log.debug("another dispatcher tests endpoint %s", endpoint.name)
        except BusUnavailableError as error:
            log.warning("the test of endpoint %s cannot be noted: %s", endpoint.name, error)

    def _now_down(self, down: dict[Key, EndpointRecord]) -> None:
        is_changed = down.keys() != self._down.keys()
        self._down = down
        if is_changed:
            self._changed()
