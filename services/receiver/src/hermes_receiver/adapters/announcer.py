"""Facts about associations on their way to the bus: a bounded queue between the association threads and the event
loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from hermes_common.events import Event
from hermes_common.runtime.errors import TransientError
from hermes_common.runtime.tracing import within
from hermes_receiver.adapters import metrics, traces
from hermes_receiver.handlers.ports import Publisher

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 10_000


class QueuedAnnouncer:
    """Publishes what it is told, in order; drops the oldest when the bus has been away for too long. Nothing here is
    an instance.
    """

    def __init__(self, publisher: Publisher, loop: asyncio.AbstractEventLoop) -> None:
        self._publisher = publisher
        self._loop = loop
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()

    def say(self, event: Event) -> None:
        """Queue an event; callable from any thread, and after the loop has ended without effect."""
        if len(self._queue) >= MAX_QUEUED:
            metrics.SAY_DROPPED.inc()
            self._queue.popleft()
        self._queue.append(event)
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            log.debug("the event loop has ended; %s is not published", event.type())

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Publish what is queued; a bus that is away is waited for."""
        while self._queue:
            event = self._queue[0]
            try:
                with within(traces.context_of(event)):
                    await self._publisher.publish(event)
            except TransientError as exc:
                log.debug("the bus is away: %s", exc)
                await asyncio.sleep(1)
                continue
            traces.said(event)
            if self._queue and self._queue[0] is event:
                self._queue.popleft()
