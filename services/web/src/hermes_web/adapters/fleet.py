"""Which services answer now: NATS micro services (``$SRV.PING``), asked at most every few seconds.

They are given 0.4 s to answer. Nobody waits for that who has seen an answer in the last minute: the last one is given,
and they are asked again beside it.
"""

import logging
from datetime import timedelta

from hermes_common.runtime.asking import Present, ask_present
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_web.adapters.kept import Kept, Known

log = logging.getLogger(__name__)

_FRESH = timedelta(seconds=3)
_STALE = timedelta(minutes=1)

Answer = Present


class Fleet:
    """Asks every service for its name."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kept = Kept(self._ask, _FRESH, _STALE)

    async def ask(self) -> Known[list[Answer] | None]:
        """Return who answered within 0.4 s when they were last asked, or None if the bus is away."""
        if self._bus.problem() is not None:
            return Known(None, timedelta())
        try:
            return await self._kept.get()
        except BusUnavailableError:
            return Known(None, timedelta())

    async def _ask(self) -> list[Answer] | None:
        try:
            return await ask_present(self._bus)
        except BusUnavailableError as error:
            log.warning("the services cannot be asked: %s", error)
            raise
