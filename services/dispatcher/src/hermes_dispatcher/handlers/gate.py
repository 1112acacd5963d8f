"""The gate before a target: attempts enter in the order of their priority, and no more than there are places."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from hermes_common.runtime.clock import new_id
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.targets import Priority
from hermes_dispatcher.adapters.places import PlacesAt
from hermes_dispatcher.core.turns import Served, choose

log = logging.getLogger(__name__)

PATIENCE: Final = timedelta(seconds=5)
"""How long one waits while other dispatchers have every place; then its work goes back, perhaps to one of them."""

_LOOK: Final = 0.2


class Gate:
    """Lets attempts to one target in, at most ``limit`` over all dispatchers."""

    def __init__(self, places: PlacesAt, limit: int, lease: timedelta) -> None:
        self._places = places
        self._limit = limit
        self._beat = lease.total_seconds() / 3
        self._waiting: dict[Priority, deque[asyncio.Future[str]]] = {priority: deque() for priority in Priority}
        self._inside: set[str] = set()
        self._served = Served()
        self._changed = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, priority: Priority, closing: asyncio.Event) -> AsyncIterator[bool]:
        """Wait for a turn; false if the queue is closed before it comes, or others have every place for too long."""
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[priority].append(waiter)
        self._run("admit", self._admit)
        holder = await self._waited(waiter, priority, closing)
        if holder is None:
            yield False
            return
        try:
            yield True
        finally:
            self._inside.discard(holder)
            await self._places.give(holder)
            self._changed.set()

    async def _waited(self, waiter: "asyncio.Future[str]", priority: Priority, closing: asyncio.Event) -> str | None:
        closed = asyncio.create_task(closing.wait())
        try:
            while not waiter.done() and not closed.done():
                ends: set[asyncio.Future[Any]] = {waiter, closed}
                await asyncio.wait(ends, timeout=PATIENCE.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
                if not self._inside:
                    break
        finally:
            closed.cancel()
            if not waiter.done():
                waiter.cancel()
                with contextlib.suppress(ValueError):
                    self._waiting[priority].remove(waiter)
        return None if waiter.cancelled() else waiter.result()

    def _run(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.create_task(work(), name=f"gate-{name}")

    async def _admit(self) -> None:
        """Take places for those who wait, until nobody does."""
        while any(self._waiting.values()):
            if len(self._inside) >= self._limit:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 1)
                continue
            holder = new_id()
            try:
                has_place = await self._places.take(holder, self._limit)
            except BusUnavailableError as error:
                log.warning("no place can be taken: %s", error)
                has_place = False
            if not has_place:
                await asyncio.sleep(_LOOK)
            elif not self._let_in(holder):
                await self._places.give(holder)

    def _let_in(self, holder: str) -> bool:
        waiting = [priority for priority, line in self._waiting.items() if line]
        if not waiting:
            return False
        priority, self._served = choose(waiting, self._served)
        self._inside.add(holder)
        self._waiting[priority].popleft().set_result(holder)
        self._run("hold", self._hold)
        return True

    async def _hold(self) -> None:
        """Renew the places of those who are inside, until nobody is."""
        while self._inside:
            await asyncio.sleep(self._beat)
            if self._inside:
                await self._places.renew(self._inside)
