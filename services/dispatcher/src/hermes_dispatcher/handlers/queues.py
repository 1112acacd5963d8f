"""The queues of every target: one that is slow, dead or paused is nobody's trouble but its own.

Targets come from the configuration, and from the queues: work for a target that was removed is found there, and fails
with that reason. Each priority has a queue and a loop; all loops of a target pass one gate.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hermes_common import subjects
from hermes_common.config import Revision
from hermes_common.ids import InvalidIdentifierError, check_slug
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, ConsumerLoop, Message, Outcome, RetryAfter
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.targets import Priority
from hermes_dispatcher.adapters.places import PlacesAt
from hermes_dispatcher.core.queues import Want, wanted
from hermes_dispatcher.handlers.gate import Gate, Turn
from hermes_dispatcher.handlers.watching import Watch

log = logging.getLogger(__name__)

Handler = Callable[[Message, Turn], Awaitable[Outcome]]

LOOK: Final = timedelta(seconds=1)
_PREFIX: Final = "hermes.work.delivery."
_AT_ONCE: Final = timedelta(milliseconds=50)


@dataclass(slots=True)
class _Line:
    """What is read for one target."""

    concurrency: int
    bandwidth: int | None
    gate: Gate
    loops: dict[Priority, "_Loop"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Loop:
    stop: asyncio.Event
    task: asyncio.Task[None]


class Queues:
    """Keeps the loops of all targets as the configuration and the queues want them."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        watch: Watch,
        handler: Handler,
        stop: asyncio.Event,
        lease: timedelta,
        ack_wait: timedelta = timedelta(seconds=15),
    ) -> None:
        self._bus = bus
        self._config = config
        self._watch = watch
        self._handler = handler
        self._stop = stop
        self._lease = lease
        self._ack_wait = ack_wait
        self._lines: dict[str, _Line] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()

    def targets(self) -> Mapping[str, int]:
        """Return the targets whose queues are read, with their concurrency."""
        return {slug: line.concurrency for slug, line in self._lines.items()}

    async def run(self) -> None:
        """Keep the loops until the service stops; return when the last attempt has ended."""
        self._config.on_change(self._changed)
        self._watch.on_change(self._look.set)
        stopped = asyncio.create_task(self._stop.wait())
        loaded = asyncio.create_task(self._config.loaded.wait())
        await asyncio.wait({stopped, loaded}, return_when=asyncio.FIRST_COMPLETED)
        loaded.cancel()
        queued: dict[str, set[Priority]] = {}
        while not stopped.done():
            try:
                queued = await self._queued()
            except BusUnavailableError as error:
                log.warning("the queues cannot be listed: %s", error)
            at = self._bus.now()
            is_off_peak = self._config.policies.off_peak.is_open(at)
            down, endpoints = self._watch.down, self._watch.endpoints_down
            self._arrange(wanted(self._config.targets, queued, down, is_off_peak, at, endpoints))
            look = asyncio.create_task(self._look.wait())
            await asyncio.wait({stopped, look}, timeout=LOOK.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            look.cancel()
            self._look.clear()
        self._arrange({})
        if self._ending:
            await asyncio.wait(self._ending)

    def _changed(self, _: Revision) -> None:
        self._look.set()

    async def _queued(self) -> dict[str, set[Priority]]:
        """Return the slugs and priorities for which there is work."""
        found: dict[str, set[Priority]] = {}
        for subject in await self._bus.subjects(subjects.WORK, f"{_PREFIX}>"):
            slug, _, token = subject.removeprefix(_PREFIX).partition(".")
            try:
                found.setdefault(check_slug(slug), set()).add(Priority(token or Priority.NORMAL.value))
            except (InvalidIdentifierError, ValueError):
                log.exception("there is work on %s, which is no target's queue", subject)
        return found

    def _arrange(self, want: Mapping[str, Want]) -> None:
        """Have the loops that are wanted, and let the others end."""
        for slug, line in list(self._lines.items()):
            asked = want.get(slug)
            is_same = asked is not None and (asked.concurrency, asked.bandwidth) == (line.concurrency, line.bandwidth)
            for priority, loop in list(line.loops.items()):
                if loop.task.done():
                    self._report(slug, loop.task)
                is_closed = priority is Priority.OFF_PEAK and asked is not None and priority not in asked.priorities
                if loop.task.done() or not is_same or is_closed:
                    self._end(loop)
                    del line.loops[priority]
            if not is_same:
                del self._lines[slug]
        for slug, asked in want.items():
            line = self._lines.get(slug) or self._line(slug, asked)
            line.gate.limit = asked.places
            for priority in asked.priorities:
                if priority not in line.loops:
                    line.loops[priority] = self._started(slug, priority, line)

    def _end(self, loop: _Loop) -> None:
        loop.stop.set()
        self._ending.add(loop.task)
        loop.task.add_done_callback(self._ending.discard)

    def _line(self, slug: str, asked: Want) -> _Line:
        gate = Gate(PlacesAt(self._bus, slug, self._lease), asked.places, self._lease, asked.bandwidth)
        line = self._lines[slug] = _Line(asked.concurrency, asked.bandwidth, gate)
        return line

    def _started(self, slug: str, priority: Priority, line: _Line) -> _Loop:
        suffix = "" if priority is Priority.NORMAL else f"_{priority.value}"  # no slug has an underscore
        consumer = Consumer(
            subjects.WORK,
            f"dispatch-{slug}{suffix}",
            (subjects.delivery_work(slug, priority.value),),
            ack_wait=self._ack_wait,
            max_ack_pending=line.concurrency,
        )
        stop = asyncio.Event()

        async def in_turn(message: Message) -> Outcome:
            async with line.gate.turn(priority, stop) as turn:
                if turn is None:
                    return RetryAfter(_AT_ONCE, "it was not its turn yet")
                return await self._handler(message, turn)

        loop = ConsumerLoop(self._bus, consumer, stop)
        return _Loop(stop, asyncio.create_task(loop.each(in_turn, line.concurrency), name=f"queue-{slug}{suffix}"))

    def _report(self, slug: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a loop of target %s failed and is started again", slug, exc_info=error)
