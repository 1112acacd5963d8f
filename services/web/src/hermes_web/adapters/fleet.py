"""Which services answer now: NATS micro services (``$SRV.PING``), asked at most every few seconds."""

import asyncio
import logging
import time

from hermes_common.runtime.asking import Present, ask_present
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError

log = logging.getLogger(__name__)

_FRESH = 3.0

Answer = Present


class Fleet:
    """Asks every service for its name."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._asked = 0.0
        self._answers: list[Answer] | None = None
        self._lock = asyncio.Lock()

    async def ask(self) -> list[Answer] | None:
        """Return who answered within 0.4 s, or None if the bus is away."""
        async with self._lock:
            if time.monotonic() - self._asked > _FRESH:
                self._answers = await self._ask()
                self._asked = time.monotonic()
            return self._answers

    async def _ask(self) -> list[Answer] | None:
        if self._bus.problem() is not None:
            return None
        try:
            return await ask_present(self._bus)
        except BusUnavailableError as error:
            log.warning("the services cannot be asked: %s", error)
            return None
