"""Timers and clocks that are wrong. Timers are kept by the clock of the server; what arms them has a clock of its own,
and either may be put right at any time (ADR-0004).

- A service whose clock differs asks for a wait, and :meth:`Bus.arm_after` names the instant by the server's clock.
- A server whose clock was ahead has timers that are due as far ahead. They were armed in what is the future now, or by
  somebody who had not heard yet that the clock was set back, and are due later than they were to wait: so they are
  known, and :class:`Rearming` arms them anew for as long as they were to wait.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from hermes_common.runtime.bus import WAIT, Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.subjects import TIMERS

log = logging.getLogger(__name__)

LOOK: Final = timedelta(seconds=15)
"""From one look at the server's clock to the next."""

SLACK: Final = timedelta(seconds=2)
"""Clocks that differ by less are the same."""

_SOONEST: Final = timedelta(seconds=1)
_AT_ONCE: Final = 32


def anew(armed_at: datetime, due: datetime, server_now: datetime, wait: timedelta | None = None) -> datetime | None:
    """Return when a timer is to fire that was armed by a clock that has been set back since; None if it was not.

    ``wait`` is how long it was to wait from ``armed_at`` on, if that is known.
    """
    if armed_at > server_now + SLACK:
        return server_now + max(due - armed_at, _SOONEST)
    if wait is not None and due - armed_at > wait + SLACK:
        return max(armed_at + wait, server_now + _SOONEST)
    return None


class Rearming:
    """Looks after the timers whose subjects match ``patterns`` when the server's clock has been set back."""

    def __init__(self, bus: Bus, patterns: Sequence[str]) -> None:
        self._bus = bus
        self._patterns = tuple(patterns)
        self._ahead: float | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Look again and again until the service stops."""
        while not stopping.is_set():
            try:
                await self.look()
            except BusUnavailableError as error:
                log.debug("the timers cannot be looked at: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK.total_seconds())

    async def look(self) -> int:
        """Arm what is due too late, if the clock may have been set back since the last look; return how many."""
        at = await self._bus.server_time()
        ahead = at.timestamp() - time.monotonic()
        if self._ahead is not None and ahead > self._ahead - SLACK.total_seconds():
            self._ahead = ahead
            return 0
        self._bus.forget_server_time()
        count = 0
        for pattern in self._patterns:
            subjects = list(await self._bus.subjects(TIMERS, pattern))
            for start in range(0, len(subjects), _AT_ONCE):
                done = await asyncio.gather(*(self._rearm(each, at) for each in subjects[start : start + _AT_ONCE]))
                count += sum(done)
        if count:
            log.warning("the clock of the bus was set back: %d timers are armed anew", count)
        self._ahead = ahead
        return count

    async def _rearm(self, timer: str, server_now: datetime) -> bool:
        armed = await self._bus.last(TIMERS, timer)
        if armed is None or armed.time is None or not armed.headers.get("Nats-Schedule", "").startswith("@at "):
            return False
        due = datetime.fromisoformat(armed.headers["Nats-Schedule"].removeprefix("@at "))
        wait = timedelta(seconds=float(armed.headers[WAIT])) if WAIT in armed.headers else None
        at = anew(armed.time, due, server_now, wait)
        if at is None:
            return False
        note = {**json.loads(armed.data or b"{}"), "due": at.isoformat()}
        headers = {
            name: value for name, value in armed.headers.items() if name in ("Nats-Schedule-Target", "traceparent")
        }
        # Somebody who armed it meanwhile knows better: then this is refused, and his is what counts.
        headers |= {
            "Nats-Schedule": f"@at {at.isoformat().replace('+00:00', 'Z')}",
            "Nats-Expected-Last-Subject-Sequence": str(armed.sequence),
            WAIT: f"{(at - server_now).total_seconds():.3f}",
        }
        return await self._bus.try_send(timer, json.dumps(note).encode(), headers)
