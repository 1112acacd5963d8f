"""The steps of a test, each with its time and words; and the steps that every kind over the network begins with."""

import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from hermes_common.runtime.dicom.connect import connect, resolve, secured
from hermes_common.runtime.dicom.errors import DicomNetworkError
from hermes_common.targettests import Step
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

T = TypeVar("T")

_LONGEST = 1000


class StepFailedError(Exception):
    """A step failed; the ones after it make no sense."""


class TroubleError(Exception):
    """A target cannot be used, or not now: what a kind makes of the errors of its library."""

    def __init__(self, trouble: Trouble, reason: str, wait: timedelta | None = None) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.reason = reason
        self.wait = wait

    @property
    def outcome(self) -> NotDelivered:
        """What this means for the instances that were not tried."""
        return NotDelivered(self.trouble, self.reason, wait=self.wait)


class Steps:
    """Takes steps and remembers them. ``limit`` is the longest that any of them may take."""

    def __init__(self, limit: timedelta) -> None:
        self.limit = limit
        self.steps: list[Step] = []

    @property
    def passed(self) -> bool:
        """Whether every step so far went well."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    @property
    def failure(self) -> str:
        """The words of the step that failed, or an empty text."""
        return next((f"{step.name}: {step.detail}" for step in self.steps if not step.ok), "")

    def take(self, name: str, action: Callable[[], T], words: Callable[[T], str]) -> T:
        """Take one step and note what ``words`` make of its result; raise :class:`StepFailedError` if it fails."""
        began = time.monotonic()
        detail, ok = "", False
        try:
            result = action()
            detail, ok = words(result), True
        except (DicomNetworkError, TroubleError, OSError) as error:
            detail = str(error) or type(error).__name__
            raise StepFailedError(detail) from error
        finally:
            taken = round((time.monotonic() - began) * 1000, 1)
            self.steps.append(Step(name=name, ok=ok, milliseconds=taken, detail=detail[:_LONGEST]))
        return result


def reach(steps: Steps, host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """Resolve the name, connect over TCP, shake hands over TLS: three steps. Return the connection."""
    addresses = steps.take(f"resolve {host}", lambda: resolve(host, port, steps.limit), _addresses)
    sock = steps.take(
        f"connect to port {port} (TCP)",
        lambda: connect(str(addresses[0][4][0]) if len(addresses) == 1 else host, port, steps.limit),
        lambda made: f"connected to {made.getpeername()[0]}",
    )
    if tls is None:
        return sock
    return steps.take("TLS", lambda: secured(sock, host, port, tls, steps.limit), _tls_words)


def _addresses(found: list[Any]) -> str:
    return ", ".join(dict.fromkeys(str(item[4][0]) for item in found))


def _tls_words(sock: ssl.SSLSocket) -> str:
    cipher = sock.cipher()
    certificate: dict[str, Any] = dict(sock.getpeercert() or {})
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    words = f"{sock.version()}, {cipher[0] if cipher else 'unknown cipher'}"
    if names:
        words += f"; certificate of {names[0]}"
    if certificate.get("notAfter"):
        words += f", valid until {certificate['notAfter']}"
    return words
