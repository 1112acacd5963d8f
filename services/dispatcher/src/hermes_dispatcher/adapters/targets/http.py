"""HTTP towards targets: urllib3 with a time limit on every step and on the whole, and a way to end it from outside.

Never a retry and never a redirect behind our back: what was sent where is known.
"""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from socket import SHUT_RDWR, socket
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from hermes_common.runtime.clock import now
from hermes_common.runtime.dicom.connect import connect
from hermes_common.runtime.dicom.errors import Unreachable
from hermes_common.targets import S3Target, StowTarget, Tls
from hermes_dispatcher.adapters.targets.steps import TroubleError
from hermes_dispatcher.adapters.targets.tls import context_of
from hermes_dispatcher.core.outcomes import Trouble
from hermes_dispatcher.core.retry_after import asked_wait

LARGEST_ANSWER: Final = 4 * 1024 * 1024
SLOWEST: Final = 64 * 1024
"""Octets a second that a target has to take on average; one that is slower is given up."""

_BLOCK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; the body is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def wait(self) -> timedelta | None:
        """For how long the server asks to be left alone, if it is one that cannot now (RFC 9110 15.6.4, RFC 6585 4)."""
        if self.status not in (429, 503):
            return None
        return asked_wait(self.headers.get("Retry-After"), self.headers.get("Date"), now())


class Http:
    """Connections to one target. For one thread, except :meth:`kill`."""

    def __init__(
        self, tls: Tls | None, connect_timeout: timedelta, response_timeout: timedelta, slowest: int = SLOWEST
    ) -> None:
        self._response = response_timeout
        self._slowest = slowest
        self._killed = False
        self._late = False
        self._connections: list[HTTPConnection] = []
        trust = Tls() if tls is None else tls
        self.manager = urllib3.PoolManager(
            num_pools=4,
            maxsize=1,
            blocksize=_BLOCK,
            timeout=urllib3.Timeout(connect=response_timeout.total_seconds(), read=response_timeout.total_seconds()),
            retries=urllib3.Retry(total=0, redirect=0, raise_on_redirect=False, raise_on_status=False),
            ssl_context=context_of(trust),
            assert_hostname=None if trust.check_name else False,
        )
        self.manager.pool_classes_by_scheme = _tracked(self._connections, connect_timeout, lambda: self._killed)

    def kill(self) -> None:
        """Break every connection, from another thread; a step under way ends with an error."""
        self._killed = True
        for connection in list(self._connections):
            sock = connection.sock
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Let the connections go."""
        self.manager.clear()

    @contextmanager
    def within(self, octets: int) -> Iterator[None]:
        """Do something with the target that moves so many octets: bounded as a whole, its errors translated."""
        limit = self._response + timedelta(seconds=octets / self._slowest)
        self._late = False

        def end() -> None:
            self._late = True
            self.kill()

        watchdog = threading.Timer(limit.total_seconds(), end)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except Unreachable as error:
            raise TroubleError(Trouble.UNREACHABLE, str(error)) from error
        except (HTTPError, ssl.SSLError, OSError) as error:
            raise TroubleError(Trouble.UNREACHABLE, self._words(error, limit)) from error
        finally:
            watchdog.cancel()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[bytes] = b"",
        octets: int = 0,
    ) -> Answer:
        """Make one request and return the answer, whatever its status; :class:`TroubleError` when there is none."""
        sent = {"User-Agent": "hermes", "Content-Length": str(octets), **headers} if octets else dict(headers)
        with self.within(octets):
            response = self.manager.request(
                method, url, headers=sent, body=body or None, preload_content=False, decode_content=True, redirect=False
            )
            try:
                found = response.read(LARGEST_ANSWER + 1, decode_content=True)
                if len(found) > LARGEST_ANSWER:
                    raise TroubleError(Trouble.BUSY, f"its answer is longer than {LARGEST_ANSWER} octets")
                return Answer(response.status, response.headers, found)
            finally:
                response.close()
                response.release_conn()

    def _words(self, error: Exception, limit: timedelta) -> str:
        if self._killed:
            slow = f"the target did not finish within {limit.total_seconds():.0f} s; it may be overloaded or hung"
            return slow if self._late else "the connection was broken off by us"
        if isinstance(error, MaxRetryError) and error.reason is not None:
            return self._words(error.reason, limit)
        if "timed out" in str(error):
            return f"the target did nothing for {self._response.total_seconds():g} s; it may be overloaded or hung"
        if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            return f"TLS: {error}"
        return f"{'cannot connect' if isinstance(error, NewConnectionError) else 'the connection was lost'}: {error}"


def _tracked(connections: list[HTTPConnection], limit: timedelta, is_killed: Callable[[], bool]) -> Any:
    """Return classes of pools whose connections are made within ``limit``, are known to us, and are not made once
    everything was broken off.
    """

    def opened(connection: HTTPConnection) -> socket:
        connections.append(connection)
        if is_killed():
            raise ConnectionAbortedError("broken off by us")
        made = connect(connection.host.strip("[]"), connection.port or 0, limit)
        if is_killed():
            made.close()
            raise ConnectionAbortedError("broken off by us")
        return made

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket:
            return opened(self)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket:
            return opened(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def slowest_of(target: StowTarget | S3Target) -> int:
    """Return the octets a second that a target has to take at least: less, where we send as little ourselves."""
    if target.bandwidth is None:
        return SLOWEST
    at_once = sum(each.concurrency for each in target.all_endpoints())
    return max(1, min(SLOWEST, target.bandwidth // (2 * at_once)))


def trouble_of(status: int, words: str, *, alone: bool, wait: timedelta | None = None) -> TroubleError:
    """Return what an HTTP status other than 2xx means (RFC 9110 15): for the target, or for the instance ``alone``.

    ``wait``: for how long the target has asked to be left alone.
    """
    said = f"HTTP {status}{': ' + words if words else ''}"
    match status:
        case 401 | 403 | 407:
            return TroubleError(Trouble.REJECTED, f"{said}: the target does not let us in; check user, password, token")
        case 404 | 405:
            return TroubleError(Trouble.REJECTED, f"{said}: there is no such service; check the address")
        case _ if 300 <= status < 400:
            return TroubleError(Trouble.REJECTED, f"{said}: it points elsewhere; put that address into the target")
        case 408 | 425 | 429:
            return TroubleError(Trouble.BUSY, f"{said}: the target cannot now", wait)
        case 400 | 406 | 409 | 413 | 415 | 422 if alone:
            return TroubleError(Trouble.REFUSED, said)
        case _:
            return TroubleError(Trouble.BUSY, said, wait)
