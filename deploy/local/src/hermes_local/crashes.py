"""Says on the bus that a process crashed: it can no longer say so itself."""

import asyncio
import os
import socket
from importlib import metadata
from pathlib import Path

from pydantic import SecretStr

from hermes_common.events import ServiceCrashed
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local import logs
from hermes_local.core.restart import describe_exit

WAITING = 100
LINES = 12


class CrashReporter:
    """Publishes one event for each crash, as soon as the bus takes it. Bounded: the oldest of too many are dropped."""

    def __init__(self) -> None:
        self._crashes: asyncio.Queue[ServiceCrashed] = asyncio.Queue(WAITING)

    def crashed(self, name: str, code: int, pid: int, log: Path) -> None:
        """Remember a crash; never blocks."""
        if self._crashes.full():
            self._crashes.get_nowait()
        self._crashes.put_nowait(
            ServiceCrashed(
                service=name,
                instance=f"{name}@{socket.gethostname()}.{pid}",
                version=metadata.version("hermes-local"),
                reason=describe_exit(code),
                last_lines=logs.last_lines(log, count=LINES),
            )
        )

    async def run(self, nats_url: str) -> None:
        """Publish until cancelled."""
        bus = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), f"launcher@{socket.gethostname()}.{os.getpid()}")
        bus.start()
        try:
            await bus.ready()
            while True:
                crash = await self._crashes.get()
                await _surely(bus, crash)
        finally:
            await bus.close()


async def _surely(bus: Bus, crash: ServiceCrashed) -> None:
    while True:
        try:
            await bus.publish(crash)
            return
        except BusUnavailableError:
            await asyncio.sleep(1)
