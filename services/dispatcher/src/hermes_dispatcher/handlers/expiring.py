"""Deliveries that wait too long for a target that is down: after the maximum age they have failed (ADR 0018).

The queue of a target that is down is not read. What lies in it is looked at without taking it out, from the oldest on,
up to the first that is young enough. What was tried before has a timer of its own (``due``). A target that somebody has
paused, and a delivery that somebody holds, are left alone.
"""

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.commands import DeliveryWork
from hermes_common.records import DeliveryRecord, DeliveryState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_common.targets import AnyTarget
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.core import lifecycle
from hermes_dispatcher.handlers.speaking import Speaker
from hermes_dispatcher.handlers.watching import Watch

log = logging.getLogger(__name__)

EVERY: Final = timedelta(seconds=30)
MOST: Final = 2000
"""Deliveries of one queue that are looked at in one go."""


class Expiry:
    """Ends what has waited too long."""

    def __init__(self, bus: Bus, config: ConfigView, watch: Watch, every: timedelta = EVERY) -> None:
        self._bus = bus
        self._config = config
        self._watch = watch
        self._every = every
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)
        self._passed: dict[str, int] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Look again and again until the service stops."""
        await self._config.loaded.wait()
        while not stopping.is_set():
            try:
                await self._look()
            except BusUnavailableError as error:
                log.warning("what waits for targets that are down cannot be looked at: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._every.total_seconds())

    async def _look(self) -> None:
        for slug in list(self._watch.down):
            target = self._config.targets.get(slug)
            if target is None or target.is_paused(self._bus.now()) or not target.retry.max_age:
                continue
            for priority in subjects.PRIORITIES:
                await self._queue(target, subjects.delivery_work(slug, priority))

    async def _queue(self, target: AnyTarget, subject: str) -> None:
        for _ in range(MOST):
            message = await self._bus.following(subjects.WORK, subject, self._passed.get(subject, 0))
            if message is None or not await self._is_over(target, message.data):
                return
            self._passed[subject] = message.sequence

    async def _is_over(self, target: AnyTarget, work: bytes) -> bool:
        """Return whether the delivery of a message needs no more waiting: ended before, or just now by its age."""
        try:
            found = await self._deliveries.load(DeliveryWork.model_validate_json(work).delivery_id)
        except ValidationError:
            return True
        at = self._bus.now()
        match found:
            case (DeliveryRecord(state=DeliveryState.SENDING, lease=held), _) if held is not None and held.until > at:
                return False  # it may be given back, and waits then
            case (DeliveryRecord(state=DeliveryState.QUEUED | DeliveryState.SENDING) as record, revision):
                pass
            case _:
                return True
        if not lifecycle.is_too_old(record, target.retry, at):
            return False
        failed = lifecycle.failed(record, lifecycle.too_old(target.retry, "the target is down"), at)
        try:
            await self._deliveries.change(failed, revision)
        except ConflictError:
            return False
        log.warning("delivery %s failed: %s", failed.delivery_id, failed.reason)
        await self._speaker.standing(failed)
        return True
