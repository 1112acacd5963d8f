"""A connection to the bus for a person at a terminal: made within seconds or not at all, with the reason."""

import asyncio

import nats.errors
from nats.aio.client import Client

from hermes_cli.output import clean, note

CONNECT_WITHIN = 6.0


class BusLink:
    """A connection to NATS that is made again when it is lost; :attr:`client` is usable after :meth:`connect`."""

    def __init__(self, servers: str, name: str) -> None:
        self._servers = [part.strip() for part in servers.split(",")]
        self._name = name
        self._aloud = False
        self._errors = 0
        self._last = ""
        self._refused = asyncio.Event()
        self.client = Client()

    async def connect(self) -> None:
        """Connect; raise ``ConnectionError`` when every server has refused, or none has answered in time."""
        connecting = asyncio.create_task(self._connect())
        refused = asyncio.create_task(self._refused.wait())
        done, _ = await asyncio.wait({connecting, refused}, timeout=CONNECT_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        if connecting not in done:
            connecting.cancel()
        try:
            await connecting
        except (nats.errors.Error, OSError, TimeoutError, ValueError, asyncio.CancelledError) as problem:
            raise ConnectionError(self._last or clean(problem) or "no answer") from problem
        self._aloud = True

    async def close(self) -> None:
        """Disconnect."""
        self._aloud = False
        await self.client.close()

    async def _connect(self) -> None:
        await self.client.connect(
            list(self._servers),
            name=self._name,
            connect_timeout=3,
            max_reconnect_attempts=-1,
            error_cb=self._on_error,
            disconnected_cb=self._on_lost,
            reconnected_cb=self._on_back,
        )

    async def _on_error(self, problem: Exception) -> None:
        words = clean(problem) or type(problem).__name__
        if self._aloud and words != self._last:
            note(f"bus: {words}")
        self._last = words
        self._errors += 1
        if self._errors >= len(self._servers):
            self._refused.set()

    async def _on_lost(self) -> None:
        if self._aloud:
            note("the bus is away; waiting for it")

    async def _on_back(self) -> None:
        self._last = ""
        note("the bus is back; events in between are not shown here")
