"""Traces: what a piece of work was part of and how long it took, for those who run a collector (ADR-0027).

Nothing of OpenTelemetry is imported before :func:`start` finds that traces are wanted; until then every function here
returns at once. What is recorded is handed to a thread of its own, bounded, and is dropped when it cannot be got rid
of: no work waits for a trace, and none fails over one.

The context of a work goes along in the header ``traceparent`` (W3C Trace Context) of every message that it leads to.
Attributes say nothing that came over DICOM: ids of our own, counts, names of targets, and digests of UIDs.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from hermes_common.runtime.settings import RuntimeSettings

log = logging.getLogger(__name__)

traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""W3C trace context of the work at hand; carried from the message that is handled to what is published."""

Attribute = Literal[
    "association",
    "attempt",
    "batch",
    "decision",
    "delivery",
    "deliveries",
    "endpoint",
    "events",
    "instances",
    "octets",
    "refused",
    "revision",
    "series",
    "state",
    "target",
]
"""What a span may say, as ``hermes.<name>``. ``series`` is a digest (:func:`digest`); nothing else is of a patient."""

Attributes = Mapping[Attribute, str | int]

LINKED_AFTER: Final = timedelta(minutes=10)
"""Work that begins longer than this after what it belongs to has a trace of its own that links to it: collectors put a
trace together for minutes, not for days."""

LINKS: Final = 32
"""Links of one span at most."""

_GOODBYE: Final = timedelta(seconds=2)
_CONTEXT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


class Recorder(Protocol):
    """Records spans; see :mod:`hermes_common.runtime.otlp`. Nothing here waits or raises."""

    def span(
        self, name: str, attributes: Attributes, parent: str | None, links: Sequence[str]
    ) -> AbstractContextManager[str]:
        """Record what is done inside; yields its context."""

    def record(
        self,
        name: str,
        attributes: Attributes,
        parent: str | None,
        links: Sequence[str],
        times: tuple[datetime, datetime],
        context: str | None,
    ) -> None:
        """Record what is over, under ``context`` if that was given out for it before."""

    def rooted(self, trace: str, span: str) -> str:
        """Return the context of the first span of a trace, of the given ids in hexadecimal."""

    def close(self) -> None:
        """Send what is left. This one may wait, for as long as the collector does."""


_recorder: Recorder | None = None


# -- life cycle


def start(settings: RuntimeSettings, service: str, version: str, instance: str) -> None:
    """Record from now on, if the environment names a collector."""
    global _recorder  # noqa: PLW0603  # one a process, like the metrics' registry
    if not settings.collects_traces():
        return
    try:
        from hermes_common.runtime.otlp import recorder

        _recorder = recorder(settings.traces_endpoint, service, version, instance)
    except ImportError as error:
        log.warning("there are no traces: install 'hermes-%s[traces]' (%s)", service, error)
    except (ValueError, TypeError, OSError) as error:  # what the environment says of the exporter
        log.warning("there are no traces: the settings of the exporter cannot be used: %s", error)
    else:
        log.info("traces are sent over OTLP/HTTP")


async def stop() -> None:
    """Send what is left, for a moment; what a collector does not take by then is dropped."""
    global _recorder  # as above
    recorder, _recorder = _recorder, None
    if recorder is None:
        return
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def close() -> None:
        recorder.close()
        with contextlib.suppress(RuntimeError):  # nobody waits any longer
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=close, name="traces-close", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), _GOODBYE.total_seconds() + 0.5)


def is_on() -> bool:
    """Whether spans are recorded."""
    return _recorder is not None


# -- what is recorded


@contextlib.contextmanager
def within(context: str | None) -> Iterator[None]:
    """What is published inside belongs to ``context``."""
    token = traceparent.set(context)
    try:
        yield
    finally:
        traceparent.reset(token)


@contextlib.contextmanager
def span(
    name: str, attributes: Attributes, parent: str | None = None, links: Sequence[str | None] = ()
) -> Iterator[None]:
    """Record what is done inside, and have what is published inside belong to it; without ``parent`` a new trace."""
    if _recorder is None:
        yield
        return
    with _recorder.span(name, attributes, valid(parent), several(links)) as context, within(context):
        yield


def record(
    name: str,
    attributes: Attributes,
    begun: datetime,
    ended: datetime,
    parent: str | None = None,
    context: str | None = None,
    links: Sequence[str | None] = (),
) -> None:
    """Record what is over; ``context`` is what was given out for it (:func:`root`, :func:`child`)."""
    if _recorder is not None:
        _recorder.record(name, attributes, valid(parent), several(links), (begun, ended), valid(context))


# -- contexts that follow from ids, so that nobody has to remember them


def root(kind: str, identity: str) -> str | None:
    """Return the context of the first span of a trace, known by the id of what it is about; None without traces."""
    if _recorder is None:
        return None
    trace = hashlib.sha256(f"hermes.trace/{kind}/{identity}".encode()).hexdigest()[:32]
    return _recorder.rooted(trace, _span(kind, identity))


def child(parent: str | None, kind: str, identity: str) -> str | None:
    """Return the context of a span in the trace of ``parent``; a trace of its own if there is none."""
    context = valid(parent)
    if context is None or _recorder is None:
        return root(kind, identity)
    return f"{context[:36]}{_span(kind, identity)}{context[52:]}"


def _span(kind: str, identity: str) -> str:
    return hashlib.sha256(f"hermes.span/{kind}/{identity}".encode()).hexdigest()[:16]


def valid(context: str | None) -> str | None:
    """Return a context that can be gone on with; None for anything else (W3C Trace Context 2.2: start anew)."""
    return context if context is not None and _CONTEXT.fullmatch(context) else None


def several(contexts: Sequence[str | None]) -> list[str]:
    """Return the valid ones, each once, in their order and bounded."""
    return list(dict.fromkeys(context for each in contexts if (context := valid(each)) is not None))[:LINKS]


def digest(uid: str) -> str:
    """Return by what a UID can be looked for, by those who have it."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16]
