"""The HTTP port for STOW-RS (PS3.18 10.5): a thread a connection, time limits on every read, bodies never held."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from hermes_common.access import AccessToken
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.objectstore import ObjectMissing, StoreError
from hermes_common.sources import Caller, Refusal
from hermes_receiver.adapters.tls import Certificates, peer_subject, protocol_of
from hermes_receiver.core.capacity import shortage
from hermes_receiver.core.multipart import MalformedMultipart, MultipartReader, media_type
from hermes_receiver.core.negotiation import Judge
from hermes_receiver.core.reception import Origin
from hermes_receiver.core.stow import RETRY_AFTER, body, http_status, wanted_media
from hermes_receiver.handlers.resubmitting import NotAnInstanceError, Quarantine
from hermes_receiver.handlers.storing import EndlessDataSetError, Store
from hermes_receiver.handlers.stow import StowRequest, TooManyPartsError

log = logging.getLogger(__name__)

_PATH: Final = re.compile(r"/dicom-web/studies(?:/([0-9.]{1,64}))?/?")
_QUARANTINE: Final = re.compile(r"/quarantine/([0-9a-f]{32})")
_RESUBMIT: Final = re.compile(r"/quarantine/([0-9a-f]{32})/resubmit")
_CHUNK: Final = 128 * 1024
_MAX_CHUNK_LINE: Final = 1024
_SILENCE: Final = timedelta(seconds=30)
_HEADERS: Final = timedelta(seconds=20)
"""From the connection, or the last answer, to the end of the headers."""

Authorise = Callable[[str], AccessToken | None]
"""Bearer token -> whose it is, or None; raises TokensUnknownError."""


class TokensUnknownError(Exception):
    """Which tokens are valid is not known yet."""


class TruncatedBodyError(Exception):
    """The body ended before its length, or its encoding cannot be followed."""


@dataclass(frozen=True, slots=True)
class Service:
    """What every request needs."""

    store: Store
    judge: Judge
    authorise: Authorise
    called_aet: str
    max_connections: int
    quarantine: Quarantine


class DicomWebServer:
    """Serves on a bound socket from :meth:`start` to :meth:`stop`."""

    def __init__(self, sock: socket.socket, service: Service, tls: Certificates | None = None) -> None:
        self._server = _Server(sock, service, tls)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="dicom-web", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._server.server_activate()
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether connections are accepted."""
        return self._thread.is_alive()

    def stop(self, drain: timedelta) -> bool:
        """Accept no more, let requests finish within ``drain``, then break what is left; true if nothing was."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()
        clean = self._server.drain(drain)
        if self._thread.ident is not None:
            self._thread.join(5)
        return clean


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, sock: socket.socket, service: Service, tls: Certificates | None) -> None:
        self.service = service
        self.tls = tls
        self._guard = threading.Lock()
        self._gone = threading.Condition(self._guard)
        self._waiting: dict[socket.socket, float] = {}
        """Connections, and until when their headers have to be there; infinity while a request is being served."""
        self.stopping = threading.Event()
        super().__init__(sock.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()  # the base class's own, which is bound to nothing
        self.socket = sock
        self.socket.setblocking(False)  # another worker may be faster to take a connection
        self.server_name, self.server_port = sock.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection if there is room: one that has not asked for anything yet makes way for it."""
        with self._guard:
            if len(self._waiting) >= self.service.max_connections:
                idle = [sock for sock, until in self._waiting.items() if until != float("inf")]
                if not idle:
                    self.shutdown_request(request)
                    return
                _break(min(idle, key=lambda sock: self._waiting[sock]))
            self._waiting[request] = time.monotonic() + _HEADERS.total_seconds()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """End connections whose headers do not come; called twice a second."""
        with self._guard:
            late = [sock for sock, until in self._waiting.items() if until < time.monotonic()]
        for sock in late:
            _break(sock)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
        with self._guard:
            self._waiting.pop(request, None)
            self._gone.notify_all()
        super().shutdown_request(request)

    def serving(self, sock: socket.socket, *, is_serving: bool) -> None:
        """Note that a request is being served on a connection, or that the next one is waited for."""
        with self._guard:
            if sock in self._waiting:
                until = float("inf") if is_serving else time.monotonic() + _HEADERS.total_seconds()
                self._waiting[sock] = until

    def drain(self, limit: timedelta) -> bool:
        """Wait for the requests under way, then break them; true if none had to be."""
        self.stopping.set()
        with self._guard:
            for sock, until in self._waiting.items():
                if until != float("inf"):
                    _break(sock)
            clean = self._gone.wait_for(lambda: not self._waiting, limit.total_seconds())
            for sock in self._waiting:
                _break(sock)
            self._gone.wait_for(lambda: not self._waiting, 5)
        return clean

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """A connection that broke is no news; anything else is."""
        log.info("connection from %s to the DICOMweb port ended", client_address[0], exc_info=log.isEnabledFor(10))


def _break(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Hermes"
    sys_version = ""
    timeout = _SILENCE.total_seconds()
    server: _Server

    def setup(self) -> None:
        """Do the TLS handshake in the connection's own thread."""
        self._plain = self.request
        if self.server.tls is not None:
            self.request.settimeout(self.timeout)
            self.request = self.server.tls.wrap_socket(self.request)
            self.request.do_handshake()
        super().setup()
        self._tls, self._certificate = protocol_of(self.request), peer_subject(self.request)

    def handle_one_request(self) -> None:
        """Serve the next request of the connection."""
        self.server.serving(self._plain, is_serving=False)
        super().handle_one_request()
        self.close_connection = self.close_connection or self.server.stopping.is_set()

    def handle_expect_100(self) -> bool:
        """Say 100 only when the request is going to be read (RFC 9110 10.1.1)."""
        return True

    def do_GET(self) -> None:
        """What lies in quarantine, for an administrator."""
        found = _QUARANTINE.fullmatch(self.path)
        if found is None:
            self._refuse_method()
            return
        self.server.serving(self._plain, is_serving=True)
        token = self._token()
        if token is not None and self._is_admin(token):
            self._quarantined(lambda: self._send_object(found[1]))

    def _resubmit(self, reception_id: str) -> None:
        token = self._token()
        if token is None or not self._is_admin(token):
            return
        log.info("quarantine %s is received again, as %s asked", reception_id, token.name)

        def again() -> None:
            answer = self.server.service.quarantine.resubmit(reception_id, token.name)
            document = {"stored": answer.stored, "status": answer.status, "reason": answer.comment}
            code = HTTPStatus.OK if answer.stored else HTTPStatus.CONFLICT
            self._send(code, json.dumps(document).encode(), "application/json", {})

        self._quarantined(again)

    def _quarantined(self, act: Callable[[], None]) -> None:
        try:
            act()
        except ObjectMissing:
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing of that id in quarantine")
        except NotAnInstanceError as exc:
            self._answer(HTTPStatus.CONFLICT, f"it still makes no instance: {exc}")
        except StoreError as exc:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), **{"Retry-After": str(RETRY_AFTER)})

    def _send_object(self, reception_id: str) -> None:
        with self.server.service.quarantine.open(reception_id) as stream:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(stream.size))
            self.send_header("Content-Disposition", f'attachment; filename="{reception_id}.bin"')
            self.end_headers()
            try:
                while data := stream.read(_CHUNK):
                    self.wfile.write(data)
            except (OSError, StoreError) as exc:
                log.info("quarantine %s was not read to its end: %s", reception_id, exc)
                self.close_connection = True

    def _is_admin(self, token: AccessToken) -> bool:
        if token.role != "admin":
            self._answer(HTTPStatus.FORBIDDEN, "quarantine is for administrators")
        return token.role == "admin"

    def do_POST(self) -> None:
        """STOW-RS."""
        self.server.serving(self._plain, is_serving=True)
        again = _RESUBMIT.fullmatch(self.path)
        if again is not None:
            self.close_connection = bool(int(self.headers.get("Content-Length", "0") or 0))
            self._resubmit(again[1])
            return
        request = self._admitted()
        if request is None:
            self.close_connection = True  # the body is not read
            return
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        self._store(*request)

    def _refuse_method(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is served: STOW-RS", Allow="POST")
        self.close_connection = True

    do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _refuse_method  # noqa: N815 - the base class's names

    # -- before the body

    def _admitted(self) -> tuple[StowRequest, str] | None:
        """Return the request and the media type of its answer, or None after it was refused."""
        path = _PATH.fullmatch(self.path.partition("?")[0])
        if path is None:
            self._answer(HTTPStatus.NOT_FOUND, "there is /dicom-web/studies and /dicom-web/studies/{study}")
            return None
        origin = self._known_sender()
        reader = self._reader() if origin is not None else None
        if origin is None or reader is None:
            return None
        media = wanted_media(self.headers.get("Accept", ""))
        if media is None:
            self._answer(HTTPStatus.NOT_ACCEPTABLE, "answers are application/dicom+json or application/dicom+xml")
            return None
        store = self.server.service.store
        lack = shortage(store.spool.use(), store.limits)
        if lack is not None:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, lack, **{"Retry-After": str(RETRY_AFTER)})
            return None
        return StowRequest(store, store.announcer, origin, reader, path[1] or ""), media

    def _token(self) -> AccessToken | None:
        """Return whose token came with the request, or None after it was refused."""
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        service = self.server.service
        try:
            token = service.authorise(secret.strip()) if scheme.lower() == "bearer" else None
        except TokensUnknownError as exc:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), **{"Retry-After": str(RETRY_AFTER)})
            return None
        if token is None:
            words = "an API token is needed: Authorization: Bearer <token>"
            self._answer(HTTPStatus.UNAUTHORIZED, words, **{"WWW-Authenticate": 'Bearer realm="Hermes"'})
        return token

    def _known_sender(self) -> Origin | None:
        service, token = self.server.service, self._token()
        if token is None:
            return None
        if not token.may_send:
            self._answer(HTTPStatus.FORBIDDEN, f"a token with the role {token.role} may not send: make one of sender")
            return None
        judgement = service.judge(Caller(token.aet, service.called_aet, self.client_address[0]))
        if isinstance(judgement, Refusal):
            log.warning("STOW-RS request of %s refused: %s", self.client_address[0], judgement.words)
            self._answer(HTTPStatus.FORBIDDEN, "the policy of sources refuses this sender")
            return None
        local = self._plain.getsockname()
        return Origin(
            new_id().replace("-", ""),
            token.aet,
            service.called_aet,
            self.client_address[0],
            self.client_address[1],
            local[0],
            local[1],
            tls=self._tls,
            certificate=self._certificate,
            user=token.name,
        )

    def _reader(self) -> MultipartReader | None:
        kind, parameters = media_type(self.headers.get("Content-Type", ""))
        if kind != "multipart/related" or parameters.get("type", "").lower() != "application/dicom":
            words = 'Content-Type has to be multipart/related; type="application/dicom"; boundary=...'
            self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, words)
            return None
        try:
            return MultipartReader(parameters.get("boundary", ""))
        except ValueError as exc:
            self._answer(HTTPStatus.BAD_REQUEST, str(exc))
            return None

    # -- the body

    def _store(self, request: StowRequest, media: str) -> None:
        request.begin()
        try:
            for data in self._body():
                request.feed(data)
            if not request.reader.is_complete:
                raise MalformedMultipart("the closing boundary is missing")
        except (MalformedMultipart, TruncatedBodyError) as exc:
            self._give_up(request, HTTPStatus.BAD_REQUEST, str(exc))
        except EndlessDataSetError:
            self._give_up(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "an instance goes on beyond every limit")
        except TooManyPartsError:
            self._give_up(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too many instances in one request")
        except OSError as exc:
            request.abort(f"the connection broke ({exc.strerror or type(exc).__name__})")
            self.close_connection = True
        else:
            request.finish()
            self._report(request, media)

    def _give_up(self, request: StowRequest, code: HTTPStatus, words: str) -> None:
        request.abort(words)
        self.close_connection = True
        self._answer(code, words)

    def _report(self, request: StowRequest, media: str) -> None:
        if not request.outcomes:
            self._answer(HTTPStatus.BAD_REQUEST, "the request has no parts")
            return
        code = http_status(request.outcomes)
        more = {"Retry-After": str(RETRY_AFTER)} if code == HTTPStatus.SERVICE_UNAVAILABLE else {}
        self._send(HTTPStatus(code), body(request.outcomes, media), media, more)

    def _body(self) -> Iterator[bytes]:
        """Yield the body as it comes, whichever way its length is given (RFC 9112 6)."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            yield from self._chunks()
            return
        try:
            left = int(self.headers.get("Content-Length", ""))
        except ValueError as exc:
            raise TruncatedBodyError("neither Content-Length nor Transfer-Encoding: chunked") from exc
        while left > 0:
            data = self.rfile.read1(min(left, _CHUNK))
            if not data:
                raise TruncatedBodyError(f"the body ended {left} bytes early")
            left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        while left := self._chunk_size():
            while left > 0:
                data = self.rfile.read1(min(left, _CHUNK))
                if not data:
                    raise TruncatedBodyError("the body ended inside a chunk")
                left -= len(data)
                yield data
            if self.rfile.readline(_MAX_CHUNK_LINE) not in (b"\r\n", b"\n"):
                raise TruncatedBodyError("a chunk is longer than it says")
        for _ in range(64):
            if self.rfile.readline(_MAX_CHUNK_LINE) in (b"\r\n", b"\n", b""):
                return
        raise TruncatedBodyError("endless trailers")

    def _chunk_size(self) -> int:
        line = self.rfile.readline(_MAX_CHUNK_LINE)
        size = line.split(b";")[0].strip()
        if not line.endswith(b"\n") or not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
            raise TruncatedBodyError("the body ended before its last chunk")
        return int(size, 16)

    # -- answering

    def _answer(self, code: HTTPStatus, words: str, **headers: str) -> None:
        """Answer with a problem document (RFC 9457)."""
        problem = {"type": "about:blank", "title": code.phrase, "status": code.value, "detail": words}
        self._send(code, json.dumps(problem).encode(), "application/problem+json", headers)

    def _send(self, code: HTTPStatus, data: bytes, media: str, headers: dict[str, str]) -> None:
        try:
            self.send_response(code)
            for name, value in {"Content-Type": media, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
                self.wfile.flush()
        except OSError:
            self.close_connection = True
            return
        if self.close_connection:
            self._linger()

    def _linger(self) -> None:
        """Read what the peer still sends for a moment, so that our answer is not lost to a reset."""
        deadline = time.monotonic() + 2
        with suppress(OSError):
            if self.server.tls is None:
                self.request.shutdown(socket.SHUT_WR)
            self.request.settimeout(0.2)
            while time.monotonic() < deadline and self.request.recv(_CHUNK):
                pass

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """One line a request, without its headers."""
        log.debug("%s %s", self.client_address[0], format % args)
