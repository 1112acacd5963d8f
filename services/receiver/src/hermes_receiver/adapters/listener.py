"""The DICOM port: accepts connections, gives each a thread, keeps the numbers within limits."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from hermes_common.runtime.clock import new_id
from hermes_common.runtime.dicom.wire import Wire
from hermes_receiver.adapters.admissions import Admissions
from hermes_receiver.adapters.tls import Certificates, peer_subject, protocol_of
from hermes_receiver.core.limits import Limits
from hermes_receiver.core.negotiation import Rejection, over_limit
from hermes_receiver.core.reception import Origin

log = logging.getLogger(__name__)

Serve = Callable[[Wire, Origin, Callable[[], Rejection | None]], None]
"""Serves one connection until it ends; the third argument counts an association in."""


@dataclass(eq=False, slots=True)
class _Connection:
    """One connection and the socket by which another thread can end it."""

    sock: socket.socket
    host: str
    place: int | None = None
    """What the association holds of the limits; None while there is none."""

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class Listener:
    """Listens from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits,
        serve: Serve,
        tls: Certificates | None = None,
        admissions: Admissions | None = None,
    ) -> None:
        self._limits = limits
        self._admissions = admissions if admissions is not None else Admissions(limits)
        self._serve = serve
        self._tls = tls
        self._guard = threading.Lock()
        self._gone = threading.Condition(self._guard)
        self._connections: list[_Connection] = []
        self._stopping = threading.Event()
        self._socket = sock
        self._socket.setblocking(False)
        self._wake_up, self._wake = socket.socketpair()
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept_loop, name="dicom-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._socket.listen(256)
        self._thread.start()

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""
        return self._tls is not None

    @property
    def is_alive(self) -> bool:
        """Whether connections are being accepted."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def stop(self, drain: timedelta) -> bool:
        """Accept no more, let instances under way finish within ``drain``, then break what is left. True if nothing
        was broken.
        """
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._wake_up.send(b"x")
        if self._thread.is_alive():
            self._thread.join(5)
        for sock in (self._socket, self._wake_up, self._wake):
            sock.close()
        deadline = time.monotonic() + drain.total_seconds()
        with self._guard:
            while self._connections and (left := deadline - time.monotonic()) > 0:
                self._gone.wait(left)
            late = list(self._connections)
        for connection in late:
            connection.kill()
        with self._guard:
            self._gone.wait_for(lambda: not self._connections, timeout=5)
            return not late and not self._connections

    # -- accepting

    def _accept_loop(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._stopping.is_set():
            poll.poll()
            if self._stopping.is_set():
                return
            time.sleep(self._admissions.courtesy().total_seconds())
            try:
                sock, address = self._socket.accept()
            except BlockingIOError:
                continue  # another worker was faster, or the peer has gone again
            except OSError as exc:
                log.warning("a connection could not be accepted: %s", exc)
                time.sleep(0.2)  # out of descriptors, most likely: they come back as connections end
                continue
            self._begin(sock, address[0], address[1])

    def _begin(self, sock: socket.socket, host: str, port: int) -> None:
        connection = _Connection(sock, host)
        with self._guard:
            self._make_room()
            self._connections.append(connection)
        self._admissions.came()
        thread = threading.Thread(target=self._run, args=(connection, port), name=f"dicom-{host}:{port}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            log.exception("no thread for a connection")
            self._end(connection)
            sock.close()

    def _make_room(self) -> None:
        """Among too many connections that have not asked for anything yet, end the oldest of the address that has
        most of them.
        """
        waiting = [c for c in self._connections if c.place is None]
        if len(waiting) < self._limits.waiting_connections:
            return
        busiest = Counter(c.host for c in waiting).most_common(1)[0][0]
        oldest = next(c for c in waiting if c.host == busiest)
        self._connections.remove(oldest)
        oldest.kill()

    def _run(self, connection: _Connection, port: int) -> None:
        try:
            sock = self._secured(connection)
            local = sock.getsockname()
            origin = Origin(
                new_id().replace("-", ""),
                "",
                "",
                connection.host,
                port,
                local[0],
                local[1],
                tls=protocol_of(sock),
                certificate=peer_subject(sock),
            )
            wire = Wire(sock, max_length=self._limits.pdu_length, should_stop=self._stopping.is_set)
            self._serve(wire, origin, lambda: self._admit(connection))
        except OSError as exc:
            log.info("connection from %s: %s", connection.host, exc)
        finally:
            self._end(connection)
            connection.sock.close()

    def _secured(self, connection: _Connection) -> socket.socket:
        """Do the TLS handshake in the connection's own thread, within the limit for requests.

        The wrapped socket takes the place of the plain one before the handshake: whoever makes room ends that too.
        """
        connection.sock.settimeout(self._limits.request.total_seconds())
        if self._tls is not None:
            secured = self._tls.wrap_socket(connection.sock)
            with self._guard:
                connection.sock = secured
                if connection not in self._connections:
                    raise ConnectionAbortedError("room was needed for others")
            secured.do_handshake()
        return connection.sock

    # -- counting

    def _admit(self, connection: _Connection) -> Rejection | None:
        with self._guard:
            if connection not in self._connections:
                return over_limit("room was needed for others")
            found = self._admissions.admit(connection.host)
            if isinstance(found, Rejection):
                return found
            connection.place = found
            return None

    def _end(self, connection: _Connection) -> None:
        with self._guard:
            if connection in self._connections:
                self._connections.remove(connection)
            if connection.place is not None:
                self._admissions.leave(connection.place)
                connection.place = None
            self._gone.notify_all()
        self._admissions.went()
