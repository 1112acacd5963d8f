"""What a worker process inherits from its supervisor: its number, the listening sockets, the board, two pipes."""

from __future__ import annotations

import functools
import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Final

from hermes_receiver.adapters.board import Board

VARIABLE: Final = "HERMES_WORKER"
"""Set by the supervisor for its workers, never by people."""


@dataclass(frozen=True, slots=True)
class Share:
    """Numbers and descriptors; ``sockets`` maps ``host:port`` as configured to a listening socket."""

    number: int
    workers: int
    places: int
    board_fd: int
    status_fd: int
    """Write end: what this worker says about its health."""
    lifeline_fd: int
    """Read end: its end of file says that the supervisor is gone."""
    sockets: dict[str, int]

    def encode(self) -> str:
        """Return it as the value of :data:`VARIABLE`."""
        return json.dumps(asdict(self))


def socket_name(host: str, port: int) -> str:
    """Return the name under which a listening socket is handed down."""
    return f"{host}:{port}"


@functools.cache
def inherited() -> Share | None:
    """Return what this process has inherited, or None when it is no worker."""
    raw = os.environ.get(VARIABLE)
    return None if raw is None else Share(**json.loads(raw))


@functools.cache
def shared_board() -> Board | None:
    """Return the board of all workers, or None when this process is no worker."""
    share = inherited()
    return None if share is None else Board(share.board_fd, share.workers, share.places)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``port``: the supervisor's own if it was handed down, so that connections in its queue
    outlive every worker; else a new one, which workers open side by side. Raises OSError.
    """
    share = inherited()
    if share is not None and (fd := share.sockets.get(socket_name(host, port))) is not None:
        return socket.socket(fileno=os.dup(fd))
    return bound(host, port, together=share is not None)


def bound(host: str, port: int, *, together: bool = False) -> socket.socket:
    """Return a new socket bound to ``port``; ``together`` lets several processes do so. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if together:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
