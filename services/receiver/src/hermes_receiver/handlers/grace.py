"""Removes the copies of uploaded instances when their grace period has passed, or at once when space is short."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from hermes_receiver.adapters.spool import Folder, Spool
from hermes_receiver.core.capacity import shortage
from hermes_receiver.core.limits import Limits

log = logging.getLogger(__name__)

_PERIOD: Final = 5.0


class Grace:
    """Keeps the time of copies on the monotonic clock: a change of the wall clock removes nothing early."""

    def __init__(self, spool: Spool, finished: asyncio.Queue[str], grace: timedelta, limits: Limits) -> None:
        self._spool = spool
        self._finished = finished
        self._grace = grace.total_seconds()
        self._limits = limits
        self._waiting: deque[tuple[float, str]] = deque()

    async def run(self, keep: Collection[str] = ()) -> None:
        """Remove until cancelled, all but ``keep``.

        To be started when the entries of ``done`` have been checked against the store.
        """
        now = asyncio.get_running_loop().time
        there = [entry for entry in self._spool.entries(Folder.DONE) if entry not in keep]
        self._waiting.extend((now() + self._grace, entry) for entry in there)
        while True:
            while not self._finished.empty():
                self._waiting.append((now() + self._grace, self._finished.get_nowait()))
            await asyncio.to_thread(self.sweep, now())
            await asyncio.sleep(min(_PERIOD, max(self._grace, 0.05)))

    def sweep(self, now: float) -> None:
        """Remove what is due at ``now``, and all copies while the volume is short of space."""
        short = (
            self._spool.take_pressure()
            or shortage(self._spool.use(), self._limits, self._limits.free_bytes) is not None
        )
        while self._waiting and (short or self._waiting[0][0] <= now):
            self._spool.remove_done(self._waiting.popleft()[1])
