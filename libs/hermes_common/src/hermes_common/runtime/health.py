"""``/livez``, ``/readyz`` and ``/metrics`` of a service, on a small HTTP server in a thread of its own."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

Check = Callable[[], str | None]
"""Returns what is wrong, in words, or None. Called from the server's thread: it must not block."""


class Health:
    """The state of a service, as its checks see it."""

    def __init__(self) -> None:
        self._required: dict[str, Check] = {}
        self._informative: dict[str, Check] = {}
        self._numbers: dict[str, Callable[[], float]] = {}
        self.words: dict[str, str] = {}
        """What people need to know of the service, such as under which AE title it is called."""

    def require(self, name: str, check: Check) -> None:
        """Add a check without which the service is not ready."""
        self._required[name] = check

    def inform(self, name: str, check: Check) -> None:
        """Add a check that is reported, but does not make the service unready."""
        self._informative[name] = check

    def measure(self, name: str, number: Callable[[], float]) -> None:
        """Add a number that is told to who asks; an OSError of ``number`` leaves it out."""
        self._numbers[name] = number

    def numbers(self) -> dict[str, float]:
        """Return every number that can be measured now."""
        found = {}
        for name, number in self._numbers.items():
            with contextlib.suppress(OSError):
                found[name] = float(number())
        return found

    def report(self) -> tuple[bool, dict[str, str]]:
        """Return whether the service is ready, and each check's word: ``ok`` or what is wrong."""
        required = {name: check() for name, check in self._required.items()}
        informative = {name: check() for name, check in self._informative.items()}
        ready = all(word is None for word in required.values())
        return ready, {name: word or "ok" for name, word in {**informative, **required}.items()}


class HealthServer:
    """Serves a :class:`Health` until :meth:`close`."""

    def __init__(self, health: Health, host: str, port: int, registry: CollectorRegistry = REGISTRY) -> None:
        self._health = health
        self._metrics = make_wsgi_app(registry)
        self._server = make_server(host, port, self._answer, _Server, _Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/livez":
                return _json(start_response, "200 OK", {"alive": True})
            case "/readyz":
                ready, checks = self._health.report()
                status = "200 OK" if ready else "503 Service Unavailable"
                return _json(start_response, status, {"ready": ready, "checks": checks})
            case "/metrics":
                return list(self._metrics(environ, start_response))
            case _:
                return _json(start_response, "404 Not Found", {"paths": ["/livez", "/readyz", "/metrics"]})


class _Server(WSGIServer):
    daemon_threads = True
    request_queue_size = 16

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A probe that went away is no news."""


class _Handler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Probes come every few seconds; they are not logged."""


def _json(start_response: Callable[..., Any], status: str, body: Mapping[str, Any]) -> list[bytes]:
    data = json.dumps(body).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]
