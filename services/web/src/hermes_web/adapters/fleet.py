"""Which services answer now (NATS micro services, ``$SRV.PING``) and what they say of themselves, asked at most every
few seconds.

They are given 0.4 s to answer. Nobody waits for that who has seen an answer in the last minute: the last one is given,
and they are asked again beside it.
"""

import logging
from datetime import timedelta
from typing import TypeVar

from hermes_common.runtime.asking import Present, ask_all, ask_present
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.servicestate import ASK, ServiceState
from hermes_web.adapters.kept import Kept, Known

log = logging.getLogger(__name__)

_FRESH = timedelta(seconds=3)
_STALE = timedelta(minutes=1)

Answer = Present

T = TypeVar("T")


class Fleet:
    """Asks every service for its name and its state."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._present = Kept(lambda: ask_present(bus), _FRESH, _STALE)
        self._told = Kept(self._ask_states, _FRESH, _STALE)

    async def ask(self) -> Known[list[Answer] | None]:
        """Return who answered within 0.4 s when they were last asked, or None if the bus is away."""
        return await self._last(self._present)

    async def states(self) -> list[ServiceState] | None:
        """Return what every process said of itself when they were last asked, or None if the bus is away."""
        return (await self._last(self._told)).value

    async def _last(self, kept: Kept[list[T]]) -> Known[list[T] | None]:
        if self._bus.problem() is not None:
            return Known(None, timedelta())
        try:
            found = await kept.get()
        except BusUnavailableError as error:
            log.warning("the services cannot be asked: %s", error)
            return Known(None, timedelta())
        return Known(found.value, found.age)

    async def _ask_states(self) -> list[ServiceState]:
        found = await ask_all(self._bus, ASK, ServiceState)
        return sorted(found, key=lambda state: (state.service, state.instance))
