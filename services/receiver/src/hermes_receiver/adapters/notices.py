"""New entries of the spools, told by the processes that receive to the one that uploads.

A notice is a line in a pipe that all share: written at once or not at all, and never waited for. One that is lost
(the pipe is full, the reader has been killed) costs time, not an instance: the reader looks through the spools too.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Final

log = logging.getLogger(__name__)

_LINE: Final = re.compile(rb"(\d+) ([rq]) ([0-9a-f]{32})")
_PIPE_BYTES: Final = 1024 * 1024
_READ: Final = 64 * 1024
_GATHER: Final = timedelta(milliseconds=50)
"""How often the reader wakes while instances come in."""


class Handover:
    """The uploads of a worker that leaves them to another process (see ``handlers.ports.Uploads``)."""

    def __init__(self, fd: int, worker: int) -> None:
        """``fd``: the write end of the pipe, not blocking."""
        self._fd = fd
        self._worker = worker

    def offer(self, entry: str, *, quarantined: bool) -> None:
        """Tell of an entry; callable from any thread, never blocks."""
        try:
            os.write(self._fd, f"{self._worker} {'q' if quarantined else 'r'} {entry}\n".encode())
        except BlockingIOError:
            log.debug("the pipe is full; entry %s is found in the spool", entry)

    def expect(self, entry: str) -> Future[bool]:
        """A worker whose answers wait for the store uploads itself."""
        raise AssertionError(f"nobody here can say when {entry} is stored")

    def forget(self, entry: str) -> None:
        """Nobody waits."""


def pipe() -> tuple[int, int]:
    """Return a pipe for notices: the end to read, the end to write, neither of them blocking."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError as exc:  # more than a user without privileges may have
        log.debug("the pipe of notices stays small: %s", exc)
    return read, write


async def listen(fd: int, offer: Callable[[int, str, bool], None]) -> None:
    """Take notices from ``fd`` (worker, entry, quarantined) until cancelled."""
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()
    rest = b""
    while True:
        loop.add_reader(fd, wake.set)
        try:
            await wake.wait()
        finally:
            loop.remove_reader(fd)
        wake.clear()
        rest = take(fd, rest, offer)
        await asyncio.sleep(_GATHER.total_seconds())


def take(fd: int, rest: bytes, offer: Callable[[int, str, bool], None]) -> bytes:
    """Offer what the pipe holds behind ``rest``; return the piece of a line at its end."""
    while True:
        try:
            piece = os.read(fd, _READ)
        except BlockingIOError:
            return rest
        if not piece:
            return b""
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if (match := _LINE.fullmatch(line)) is not None:
                offer(int(match[1]), match[3].decode(), match[2] == b"q")
