"""Resolve and connect within one time limit, name resolution and TLS handshake included."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias

from hermes_common.runtime.dicom.errors import Unreachable
from hermes_common.runtime.dicom.wire import Deadline

_Address: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]


def connect(host: str, port: int, limit: timedelta, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Return a connected socket; tries every address of ``host``. Raises :class:`Unreachable` with the last reason."""
    deadline = Deadline.after(limit)
    reason = "the name has no address"
    for family, kind, protocol, _, address in resolve(host, port, limit):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            return sock if tls is None else tls.wrap_socket(sock, server_hostname=host)
        except ssl.SSLError as exc:
            reason = _tls_words(exc)
        except TimeoutError:
            reason = f"no answer within {limit.total_seconds():g} s"
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
        with suppress(OSError):
            sock.close()
        if deadline.has_passed:
            break
    raise Unreachable(host, port, reason)


def secured(sock: socket.socket, host: str, port: int, tls: ssl.SSLContext, limit: timedelta) -> ssl.SSLSocket:
    """Return a connected socket with TLS on it, or close it and raise :class:`Unreachable`."""
    try:
        sock.settimeout(_left(Deadline.after(limit)))
        return tls.wrap_socket(sock, server_hostname=host)
    except ssl.SSLError as exc:
        reason = _tls_words(exc)
    except TimeoutError:
        reason = f"TLS: no answer within {limit.total_seconds():g} s"
    except OSError as exc:
        reason = f"TLS: {(exc.strerror or str(exc)).lower()}"
    with suppress(OSError):
        sock.close()
    raise Unreachable(host, port, reason)


def _tls_words(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"TLS: its certificate is not trusted ({exc.verify_message})"
    return f"TLS: {(exc.reason or str(exc)).replace('_', ' ').lower()}"


def _left(deadline: Deadline) -> float:
    """Seconds left, never 0: that would mean non-blocking."""
    left = deadline.at - Deadline.after(timedelta(0)).at
    return max(left, 0.001)


def resolve(host: str, port: int, limit: timedelta) -> list[_Address]:
    """Look the name up in a thread that is given up after ``limit``: getaddrinfo itself knows no time limit.

    Raises :class:`Unreachable`.
    """
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)  # type: ignore[return-value]
    answers: queue.SimpleQueue[list[_Address] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # type: ignore[arg-type]
        except OSError as exc:
            answers.put(exc)

    threading.Thread(target=look_up, name=f"resolve-{host}", daemon=True).start()
    try:
        answer = answers.get(timeout=limit.total_seconds())
    except queue.Empty:
        raise Unreachable(host, port, f"the name server did not answer within {limit.total_seconds():g} s") from None
    if isinstance(answer, OSError):
        raise Unreachable(host, port, f"the name cannot be resolved ({answer.strerror or answer})") from answer
    return answer
