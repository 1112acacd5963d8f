"""A TCP (or TLS) connection that carries PDUs: buffered reading without copies, every read and write with a deadline.

    WireError
    +-- WireTimeout     a deadline passed; ``step`` says at what
    +-- WireClosed      the peer closed, or the connection broke; ``reset`` tells the second from the first
    +-- WireStopping    this side is shutting down and nothing was in flight

A PDU that is malformed or too long raises :class:`hermes_common.dicom.errors.MalformedPdu`.
"""

# ruff: noqa: N818 - errors are named after the situation, not after the word "error"

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hermes_common.dicom.errors import MalformedPdu
from hermes_common.dicom.pdu import HEADER_LENGTH, PduType, parse_header

TICK: Final = timedelta(seconds=1)
"""How often a blocked read looks at its deadline and at the stop flag."""

MAX_ASSOCIATE_LENGTH: Final = 256 * 1024
"""Longest A-ASSOCIATE-RQ / -AC body that is read: 128 contexts of 128 transfer syntaxes would need more, nobody sends
them.
"""

_CONTROL_LENGTHS: Final[Mapping[int, int]] = {
    PduType.ASSOCIATE_RQ: MAX_ASSOCIATE_LENGTH,
    PduType.ASSOCIATE_AC: MAX_ASSOCIATE_LENGTH,
    PduType.ASSOCIATE_RJ: 4,
    PduType.RELEASE_RQ: 4,
    PduType.RELEASE_RP: 4,
    PduType.ABORT: 4,
}


class WireError(Exception):
    """Base of what can go wrong with a connection."""


class WireTimeout(WireError):
    """A deadline passed while ``step``."""

    def __init__(self, step: str) -> None:
        super().__init__(f"time limit reached while {step}")
        self.step = step


class WireClosed(WireError):
    """The connection is gone; ``reset`` is false when the peer closed it in order between two PDUs."""

    def __init__(self, reason: str, *, reset: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reset = reset


class WireStopping(WireError):
    """This side is stopping, and the connection was idle."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, limit: timedelta) -> Deadline:
        """Return the deadline ``limit`` from now."""
        return cls(time.monotonic() + limit.total_seconds())

    @property
    def has_passed(self) -> bool:
        """Whether it lies in the past."""
        return time.monotonic() >= self.at


@dataclass(frozen=True, slots=True)
class Pdu:
    """A PDU: its type and its body, a view that is valid until the next read."""

    kind: int
    body: memoryview
    whole: memoryview


class Wire:
    """One connection; owns and closes the socket. Not for use by several threads, except :meth:`kill`."""

    def __init__(
        self, sock: socket.socket, *, max_length: int, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._sock = sock
        self._max_length = max_length
        self._should_stop = should_stop
        self._buffer = bytearray(HEADER_LENGTH + max(max_length, MAX_ASSOCIATE_LENGTH) + HEADER_LENGTH)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._tls = isinstance(sock, ssl.SSLSocket)
        if self._tls:
            sock.settimeout(TICK.total_seconds())
        else:
            _limit_in_kernel(sock, TICK)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def read_pdu(
        self,
        silence: timedelta,
        transfer: timedelta,
        step: str,
        *,
        allowed: frozenset[int] | None = None,
        idle: bool = False,
    ) -> Pdu:
        """Return the next PDU.

        ``silence`` bounds the wait for its first byte, ``transfer`` the time from there to its last. ``allowed`` are
        the PDU types
        whose body is read; of any other the body is never awaited. ``idle`` says that nothing is in flight, so that a
        stop of this
        side ends the wait with :class:`WireStopping`.
        """
        self._fill(1, Deadline.after(silence), step, idle=idle)
        deadline = Deadline.after(transfer)
        self._fill(HEADER_LENGTH, deadline, step)
        kind, length = parse_header(self._view[self._start : self._start + HEADER_LENGTH])
        limit = self._max_length if kind == PduType.P_DATA else _CONTROL_LENGTHS.get(kind, 0)
        if kind not in _CONTROL_LENGTHS and kind != PduType.P_DATA:
            raise MalformedPdu(f"there is no PDU type {kind:#04x}")
        if allowed is not None and kind not in allowed:
            raise MalformedPdu(f"PDU type {kind:#04x} is not expected here")
        if length > limit:
            raise MalformedPdu(f"a PDU of type {kind:#04x} announces {length} bytes, {limit} are allowed")
        self._fill(HEADER_LENGTH + length, deadline, step)
        start = self._start
        self._start = behind = start + HEADER_LENGTH + length
        return Pdu(kind, self._view[start + HEADER_LENGTH : behind], self._view[start:behind])

    def _fill(self, count: int, deadline: Deadline, step: str, *, idle: bool = False) -> None:
        """Have at least ``count`` bytes from ``_start`` on in the buffer."""
        if self._end - self._start >= count:
            return
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + count > len(self._buffer):
            held = self._end - self._start
            self._buffer[:held] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, held
        while self._end - self._start < count:
            if idle and self._should_stop():
                raise WireStopping("stopping")
            if deadline.has_passed:
                raise WireTimeout(step)
            self._end += self._receive(step)

    def _receive(self, step: str) -> int:
        """Read what is there, at least one byte, or return 0 after a tick."""
        try:
            count = self._sock.recv_into(self._view[self._end :])
            if not self._tls:
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            return 0
        except OSError as exc:
            raise WireClosed(
                f"the connection broke while {step} ({exc.strerror or type(exc).__name__})", reset=True
            ) from exc
        if count == 0:
            partial = self._end > self._start
            raise WireClosed(f"the peer closed the connection while {step}", reset=partial)
        return count

    @property
    def is_stopping(self) -> bool:
        """Whether this side is to end."""
        return self._should_stop()

    def is_readable(self, limit: timedelta) -> bool:
        """Wait at most ``limit`` for the peer to say something; true also when the connection has ended."""
        if self.has_input() or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return True
        poll = select.poll()
        try:
            poll.register(self._sock, select.POLLIN)
        except (OSError, ValueError):
            return True
        return bool(poll.poll(limit.total_seconds() * 1000))

    def has_input(self) -> bool:
        """Whether bytes of another PDU are in the buffer already."""
        return self._end > self._start

    def send(self, parts: Sequence[bytes | memoryview], limit: timedelta, step: str) -> None:
        """Send ``parts`` in order, together in as few segments as possible, within ``limit``; a peer that does not
        read cannot hold us.
        """
        self.send_long(parts, limit, step, sum(map(len, parts)))

    def send_long(self, parts: Sequence[bytes | memoryview], limit: timedelta, step: str, portion: int) -> None:
        """Send ``parts`` as :meth:`send` does, with ``limit`` for each ``portion`` bytes to be taken by the peer."""
        deadline, taken, first = Deadline.after(limit), 0, 0
        left: list[bytes | memoryview] = [memoryview(b"".join(parts))] if self._tls else list(parts)
        while first < len(left):
            if deadline.has_passed:
                raise WireTimeout(step)
            sent = self._send_some(left[first : first + _MOST_PARTS], step)
            taken += sent
            if taken >= portion:
                deadline, taken = Deadline.after(limit), 0
            while first < len(left) and sent >= len(left[first]):
                sent -= len(left[first])
                first += 1
            if sent:
                left[first] = memoryview(left[first])[sent:]

    def _send_some(self, left: list[bytes | memoryview], step: str) -> int:
        try:
            return self._sock.send(left[0]) if self._tls else self._sock.sendmsg(left)
        except (BlockingIOError, TimeoutError, ssl.SSLWantWriteError):
            return 0
        except OSError as exc:
            raise WireClosed(
                f"the connection broke while {step} ({exc.strerror or type(exc).__name__})", reset=True
            ) from exc

    def kill(self) -> None:
        """Break the connection from another thread; a blocked read or write of the owner ends with
        :class:`WireClosed`.
        """
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self, linger: timedelta = timedelta(0)) -> None:
        """Close; with ``linger`` wait that long for the peer to close first, so that our last PDU is not lost to a
        reset.
        """
        if linger:
            self._drain(Deadline.after(linger))
        with suppress(OSError):
            self._sock.close()

    def _drain(self, deadline: Deadline) -> None:
        """Read and drop until the peer closes; bounded in time and in bytes."""
        budget = 16 * 1024 * 1024
        with suppress(OSError):
            if not self._tls:
                self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(0.1)
            while budget > 0 and not deadline.has_passed:
                try:
                    count = self._sock.recv_into(self._buffer)
                except TimeoutError:
                    continue
                if count == 0:
                    return
                budget -= count


_QUICKACK: Final[int] = getattr(socket, "TCP_QUICKACK", 12)
_MOST_PARTS: Final = 512
"""Buffers in one system call; the kernel takes 1,024 at most."""


def _limit_in_kernel(sock: socket.socket, tick: timedelta) -> None:
    """Have every call on the socket end within ``tick`` by the kernel's clock.

    A time-out of Python's own makes two system calls of each, and the interpreter's lock is to be had again after both.
    """
    seconds, rest = divmod(tick, timedelta(seconds=1))
    limit = struct.pack("ll", seconds, rest // timedelta(microseconds=1))
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
