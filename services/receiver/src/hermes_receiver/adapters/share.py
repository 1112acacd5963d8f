"""What a process of a receiver inherits from its supervisor: its role and number, the listening sockets, the board, and
pipes.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from hermes_receiver.adapters.board import Board
from hermes_receiver.settings import Settings

VARIABLE: Final = "HERMES_WORKER"
"""Set by the supervisor for its children, never by people."""


class Role(StrEnum):
    """What a process is for."""

    RECEIVE = "receive"
    """A worker: receives into a spool of its own."""
    UPLOAD = "upload"
    """Takes the entries of all spools to the object store."""


@dataclass(frozen=True, slots=True)
class Share:
    """Numbers and descriptors; ``sockets`` maps what a port is for to a listening socket."""

    role: Role
    number: int
    """Of the worker; 0 for the process that uploads."""
    workers: int
    places: int
    board_fd: int
    status_fd: int
    """Write end: what this worker says about its health."""
    lifeline_fd: int
    """Read end: its end of file says that the supervisor is gone."""
    notices_fd: int
    """The end of the pipe of notices (:mod:`hermes_receiver.adapters.notices`) that the role needs."""
    sockets: dict[str, int]
    unclean: tuple[int, ...] = ()
    """Workers whose last spool was not closed in order: what the process that uploads checks first."""

    def encode(self) -> str:
        """Return it as the value of :data:`VARIABLE`."""
        return json.dumps(asdict(self))


class Port(StrEnum):
    """What a port is for; the name under which its socket is handed down."""

    DICOM = "dicom"
    DICOM_TLS = "dicom-tls"
    DICOMWEB = "dicomweb"


def addresses(settings: Settings) -> dict[Port, tuple[str, int]]:
    """Return host and port of every port that the settings open."""
    found = {}
    if settings.dicom_plain:
        found[Port.DICOM] = (settings.dicom_host, settings.dicom_port)
    if settings.dicom_tls_cert is not None:
        found[Port.DICOM_TLS] = (settings.dicom_host, settings.dicom_tls_port)
    if settings.dicomweb_port is not None:
        found[Port.DICOMWEB] = (settings.dicomweb_host, settings.dicomweb_port)
    return found


@functools.cache
def inherited() -> Share | None:
    """Return what this process has inherited, or None when it is no worker."""
    raw = os.environ.get(VARIABLE)
    if raw is None:
        return None
    said = json.loads(raw)
    return Share(**{**said, "role": Role(said["role"]), "unclean": tuple(said["unclean"])})


@functools.cache
def shared_board() -> Board | None:
    """Return the board of all workers, or None when this process is no worker."""
    share = inherited()
    return None if share is None else Board(share.board_fd, share.workers, share.places)


def listening(settings: Settings) -> dict[Port, socket.socket]:
    """Return a bound socket for every port that the settings open: the supervisor's own for a worker, so that
    connections in their queues outlive every worker. Raises OSError.
    """
    share = inherited()
    if share is not None:
        return {Port(name): socket.socket(fileno=os.dup(fd)) for name, fd in share.sockets.items()}
    found: dict[Port, socket.socket] = {}
    try:
        for name, (host, port) in addresses(settings).items():
            found[name] = bound(host, port)
    except OSError:
        for sock in found.values():
            sock.close()
        raise
    return found


def bound(host: str, port: int) -> socket.socket:
    """Return a new socket bound to ``port``. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
