"""One loop for each target: a target that is slow, dead or paused is nobody's trouble but its own.

Targets come from the configuration, and from the queues: work for a target that was removed is found there, and fails
with that reason. ``max_ack_pending`` of a target's consumer is its concurrency, over all dispatchers.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hermes_common import subjects
from hermes_common.config import Revision
from hermes_common.ids import InvalidIdentifierError, check_slug
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, ConsumerLoop, Handler
from hermes_common.runtime.errors import BusUnavailableError
from hermes_dispatcher.core.queues import wanted

log = logging.getLogger(__name__)

LOOK: Final = timedelta(seconds=3)
_PREFIX: Final = "hermes.work.delivery."


@dataclass(frozen=True, slots=True)
class _Loop:
    concurrency: int
    stop: asyncio.Event
    task: asyncio.Task[None]


class Queues:
    """Keeps the loops of all targets as the configuration and the queues want them."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        handler: Handler,
        stop: asyncio.Event,
        ack_wait: timedelta = timedelta(seconds=15),
    ) -> None:
        self._bus = bus
        self._config = config
        self._handler = handler
        self._stop = stop
        self._ack_wait = ack_wait
        self._loops: dict[str, _Loop] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()

    def targets(self) -> Mapping[str, int]:
        """Return the targets whose queues are read, with their concurrency."""
        return {slug: loop.concurrency for slug, loop in self._loops.items()}

    async def run(self) -> None:
        """Keep the loops until the service stops; return when the last attempt has ended."""
        self._config.on_change(self._changed)
        stopped = asyncio.create_task(self._stop.wait())
        loaded = asyncio.create_task(self._config.loaded.wait())
        await asyncio.wait({stopped, loaded}, return_when=asyncio.FIRST_COMPLETED)
        loaded.cancel()
        queued: set[str] = set()
        while not stopped.done():
            try:
                queued = await self._queued()
            except BusUnavailableError as error:
                log.warning("the queues cannot be listed: %s", error)
            self._arrange(wanted(self._config.targets, queued))
            look = asyncio.create_task(self._look.wait())
            await asyncio.wait({stopped, look}, timeout=LOOK.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            look.cancel()
            self._look.clear()
        self._arrange({})
        if self._ending:
            await asyncio.wait(self._ending)

    def _changed(self, _: Revision) -> None:
        self._look.set()

    async def _queued(self) -> set[str]:
        """Return the slugs for which there is work."""
        found = set()
        for subject in await self._bus.subjects(subjects.WORK, f"{_PREFIX}>"):
            try:
                found.add(check_slug(subject.removeprefix(_PREFIX)))
            except InvalidIdentifierError:
                log.exception("there is work on %s, which is no target's queue", subject)
        return found

    def _arrange(self, want: Mapping[str, int]) -> None:
        for slug, loop in list(self._loops.items()):
            if loop.task.done():
                self._report(slug, loop.task)
            if loop.task.done() or want.get(slug) != loop.concurrency:
                loop.stop.set()
                self._ending.add(loop.task)
                loop.task.add_done_callback(self._ending.discard)
                del self._loops[slug]
        for slug, concurrency in want.items():
            if slug not in self._loops:
                self._loops[slug] = self._started(slug, concurrency)

    def _started(self, slug: str, concurrency: int) -> _Loop:
        consumer = Consumer(
            subjects.WORK,
            f"dispatch-{slug}",
            (subjects.delivery_work(slug),),
            ack_wait=self._ack_wait,
            max_ack_pending=concurrency,
        )
        stop = asyncio.Event()
        loop = ConsumerLoop(self._bus, consumer, stop)
        return _Loop(
            concurrency, stop, asyncio.create_task(loop.each(self._handler, concurrency), name=f"queue-{slug}")
        )

    def _report(self, slug: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the loop of target %s failed and is started again", slug, exc_info=error)
