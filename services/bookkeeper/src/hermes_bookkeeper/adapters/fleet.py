"""The processes of all services, asked over the bus."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import nats.errors
import nats.js.errors

from hermes_common.room import ASK, Room
from hermes_common.runtime.asking import ask_all, ask_present
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError

_WAIT: Final = timedelta(seconds=1)


class BusFleet:
    """Asks everybody."""

    def __init__(self, bus: Bus, lag: Callable[[Bus], Awaitable[int]]) -> None:
        self._bus = bus
        self._lag = lag

    async def present(self) -> set[str]:
        """Return the services of which a process answers; raises BusUnavailableError."""
        return {answer.service for answer in await ask_present(self._bus, _WAIT)}

    async def rooms(self) -> list[Room]:
        """Return how much room there is; raises BusUnavailableError."""
        return await ask_all(self._bus, ASK, Room, _WAIT)

    async def behind(self) -> int:
        """Return how many events are not recorded yet; raises BusUnavailableError."""
        try:
            return await self._lag(self._bus)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
            raise BusUnavailableError(f"the bus does not say how far the books are: {error}") from error
