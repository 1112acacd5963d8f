"""The gate before a target: attempts enter in the order of their priority, and no more than there are places."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from hermes_common.endpoints import Endpoint
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.targets import Priority
from hermes_dispatcher.adapters.places import Choose, Place, PlacesAt
from hermes_dispatcher.adapters.throttle import Throttle
from hermes_dispatcher.core.turns import Served, choose

log = logging.getLogger(__name__)

PATIENCE: Final = timedelta(seconds=5)
"""How long one waits while other dispatchers have every place; then its work goes back, perhaps to one of them."""

_LOOK: Final = 0.2
_SHARING: Final = 1.0
"""How often the shares of a limited bandwidth are looked at."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A place at a target, and what it may be used for."""

    place: Place
    places: PlacesAt
    throttle: Throttle | None = None

    async def settle(self, choose: Choose) -> Endpoint | None:
        """Take the place to the endpoint whose turn it is, or None if there is none to be had."""
        return await self.places.settle(self.place.holder, choose)


class Gate:
    """Lets attempts to one target in, at most ``limit`` over all dispatchers; it may change at any time."""

    def __init__(self, places: PlacesAt, limit: int, lease: timedelta, bandwidth: int | None = None) -> None:
        self._places = places
        self.limit = limit
        self._throttle = None if bandwidth is None else Throttle(bandwidth)
        beat = lease.total_seconds() / 3
        self._beat = beat if bandwidth is None else min(beat, _SHARING)
        self._waiting: dict[Priority, deque[asyncio.Future[Place]]] = {priority: deque() for priority in Priority}
        self._inside: set[Place] = set()
        self._served = Served()
        self._changed = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, priority: Priority, closing: asyncio.Event) -> AsyncIterator[Turn | None]:
        """Wait for a turn; None if the queue is closed before it comes, or others have every place for too long."""
        waiter: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting[priority].append(waiter)
        self._run("admit", self._admit)
        place = await self._waited(waiter, priority, closing)
        if place is None:
            yield None
            return
        try:
            yield Turn(place, self._places, self._throttle)
        finally:
            self._inside.discard(place)
            await self._places.give(place.holder)
            self._share()
            self._changed.set()

    async def _waited(
        self, waiter: "asyncio.Future[Place]", priority: Priority, closing: asyncio.Event
    ) -> Place | None:
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
            if len(self._inside) >= self.limit:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 1)
                continue
            try:
                place = await self._places.take(new_id(), self.limit)
            except BusUnavailableError as error:
                log.warning("no place can be taken: %s", error)
                place = None
            if place is None:
                await asyncio.sleep(_LOOK)
            elif not self._let_in(place):
                await self._places.give(place.holder)

    def _let_in(self, place: Place) -> bool:
        waiting = [priority for priority, line in self._waiting.items() if line]
        if not waiting:
            return False
        priority, self._served = choose(waiting, self._served)
        self._inside.add(place)
        self._share()
        self._waiting[priority].popleft().set_result(place)
        self._run("hold", self._hold)
        return True

    def _share(self) -> None:
        """Have our share of the bandwidth follow our share of the places."""
        if self._throttle is not None:
            self._throttle.share(len(self._inside), self._places.taken)

    async def _hold(self) -> None:
        """Renew the places of those who are inside, until nobody is."""
        while self._inside:
            await asyncio.sleep(self._beat)
            if self._inside:
                await self._places.renew(list(self._inside))
                self._share()
