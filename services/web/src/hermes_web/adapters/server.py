"""The HTTP server, in the service's own event loop: its signals are the service's."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from hermes_web.settings import Settings

log = logging.getLogger(__name__)

HEAD_WITHIN = 5.0
"""Seconds for the first request head of a connection."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the service."""
        yield


class _Patient(H11Protocol):
    """Ends a connection on which no whole request head has come in time: silent ones must not fill the server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_WITHIN, self._look)

    def _look(self) -> None:
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():
            self.transport.close()


async def serve(app: ASGIApp, settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until ``stopping``; then finish what is under way."""
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=_Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(settings.http_trusted_proxies),
        forwarded_allow_ips=settings.http_trusted_proxies or "",
        limit_concurrency=256,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
    )
    server = _Server(config)
    log.info("web page and API on http://%s:%d", host, port)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    server.should_exit = True
    await serving


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.http_host, settings.http_port))
    listener.listen(256)
    return listener
