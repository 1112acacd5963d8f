"""What the handlers need from outside, as small protocols."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hermes_common.events import Event
from hermes_common.runtime.objectstore import ObjectStream, Puts


class Announcer(Protocol):
    """Takes facts that may be lost when the bus is away for long: associations, refusals. Callable from any thread,
    never blocks.
    """

    def say(self, event: Event) -> None:
        """Queue ``event`` for publication."""


class Publisher(Protocol):
    """Publishes durably."""

    async def publish(self, event: Event, event_id: str | None = None, time: datetime | None = None) -> int:
        """Return when the bus has acknowledged; raises TransientError."""


class Uploads(Protocol):
    """Is told of entries that wait in the spool. Callable from any thread, never blocks."""

    def offer(self, entry: str, *, quarantined: bool) -> None:
        """Take note that ``entry`` is ready."""

    def expect(self, entry: str) -> Future[bool]:
        """Return what tells whether ``entry``, offered after this, has been stored and announced."""

    def forget(self, entry: str) -> None:
        """Nobody waits for ``entry`` any more."""


class Objects(Protocol):
    """The part of the object store that the receiver uses."""

    def put_file(self, key: str, path: Path) -> None:
        """Store the file durably under ``key``."""

    def together(self) -> AbstractContextManager[Puts]:
        """Return what stores several files, durable when the ``with`` is left without an error."""

    def open(self, key: str) -> AbstractContextManager[ObjectStream]:
        """Return the object as a stream; ObjectMissing on entering."""

    def stat(self, key: str) -> object | None:
        """Return what is stored under ``key`` (with a ``size``), or None."""
