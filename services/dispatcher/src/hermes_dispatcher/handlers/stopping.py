"""Stopping an attempt that is under way, wherever it is: before somebody says that nothing more is sent (ADR 0018).

Whoever has changed the record of a delivery that was being sent asks over the bus. The dispatcher that has it breaks
the attempt off and answers when its sending thread has ended. Without an answer it is waited until the lease has
passed: no dispatcher begins an instance after that.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from hermes_common.records import Lease
from hermes_common.runtime.bus import Bus
from hermes_dispatcher.adapters.targets.interface import Permit

log = logging.getLogger(__name__)

ASK: Final = "hermes.ask.delivery.stop"
"""Subject of the request: the owner of the lease, as text. Only the dispatcher that is this owner answers."""

_WAIT: Final = 5.0
_AGAIN: Final = 0.25


class Running:
    """The attempts of this dispatcher, and how to stop one."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._attempts: dict[str, tuple[Permit, asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def attempt(self, owner: str, permit: Permit) -> Iterator[None]:
        """Keep an attempt known until its sending has ended."""
        ended = asyncio.Event()
        self._attempts[owner] = (permit, ended)
        try:
            yield
        finally:
            del self._attempts[owner]
            ended.set()

    async def run(self) -> None:
        """Answer until cancelled; the subscription outlives reconnections."""
        subscription = await self._bus.nc.subscribe(ASK, cb=self._asked)
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._bus.nc.is_connected:
                await subscription.unsubscribe()

    async def _asked(self, message: Msg) -> None:
        found = self._attempts.get(message.data.decode(errors="replace"))
        if found is None:
            return
        task = asyncio.create_task(self._stop(message, *found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _stop(message: Msg, permit: Permit, ended: asyncio.Event) -> None:
        permit.kill()
        try:
            await asyncio.wait_for(ended.wait(), _WAIT)
            if permit.lingers:
                log.warning("an attempt that was to stop goes on: its lease is waited for")
                return
            await message.respond(b"stopped")
        except TimeoutError:
            log.warning("an attempt that was to stop did not end within %g s", _WAIT)
        except (nats.errors.Error, OSError) as error:
            log.warning("it could not be said that an attempt has stopped: %s", error)


async def stopped(bus: Bus, lease: Lease | None) -> None:
    """Return when whoever held ``lease`` sends no more: it said so, or the lease has passed.

    How long that is, is told once: nobody holds it longer because the clock of the bus is set back meanwhile.
    """
    if lease is None:
        return
    end = time.monotonic() + (lease.until - bus.now()).total_seconds()
    while (seconds := end - time.monotonic()) > 0:
        try:
            await bus.nc.request(ASK, lease.owner.encode(), timeout=min(_WAIT, seconds))
        except (nats.errors.Error, TimeoutError, OSError):
            await asyncio.sleep(min(_AGAIN, seconds))
        else:
            return
