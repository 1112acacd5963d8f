"""What happens on the bus, as it happens: heard once by this process, told to every page that listens.

A page that cannot keep up is not told everything: it is told that something happened, which is all that it needs to
look again. Nothing is kept for a page that is gone. What the bus says is in the history a moment later; the bookkeeper
tells when.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto

from nats.aio.msg import Msg
from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.ids import uid_token
from hermes_common.news import Recorded
from hermes_common.runtime.bus import Bus
from hermes_web.errors import UnavailableError

log = logging.getLogger(__name__)

SUBJECTS = tuple(f"hermes.v1.{entity}.>" for entity in ("series", "delivery", "service", "alert", "config"))
"""Not the events of single instances, of which there may be thousands a second."""
MOST = 100
"""Pages that are told at the same time."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something was said about an entity, and about a series if it was (as a token of subjects)."""

    entity: str
    verb: str
    series: str | None = None


class Heard(Flag):
    """What a page was told since it last looked."""

    NOTHING = 0
    SAID = auto()
    """Something happened that concerns it. The history may not have it yet."""
    RECORDED = auto()
    """The history has something that concerns it."""


class Listener:
    """One page. It remembers only what kinds of things it was told since it last looked."""

    def __init__(self, series_uid: str | None, *, instances: bool = False) -> None:
        self._uid = series_uid
        self._series = None if series_uid is None else uid_token(series_uid)
        self._instances = instances
        self._heard = Heard.NOTHING
        self._wake = asyncio.Event()

    def tell(self, said: Said) -> None:
        """Take note of what was said, if it is about what the page shows."""
        if self._series is None or said.series == self._series:
            self._note(Heard.SAID)

    def tell_recorded(self, recorded: Recorded) -> None:
        """Take note of what the history has now, if it is about what the page shows."""
        if recorded.is_about(self._uid) if self._uid is not None else self._instances or not recorded.instances_only:
            self._note(Heard.RECORDED)

    def wake(self) -> None:
        """End the waiting, whatever happened."""
        self._wake.set()

    async def wait(self, within: float) -> Heard:
        """Wait until something happened, at most ``within`` seconds; return what was told."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), within)
        self._wake.clear()
        heard, self._heard = self._heard, Heard.NOTHING
        return heard

    def _note(self, heard: Heard) -> None:
        self._heard |= heard
        self._wake.set()


class Live:
    """Hears the bus for all pages of this process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._listeners: set[Listener] = set()
        self.is_over = False
        """Whether the service is ending, and pages are to let go."""

    def problem(self) -> str | None:
        """Return why nothing is heard, in words, or None."""
        return "the bus is away" if self._bus.problem() is not None else None

    async def run(self, stopping: asyncio.Event) -> None:
        """Hear the bus until ``stopping``; then let every page go."""
        ready = asyncio.create_task(self._bus.ready())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.is_set():
                for subject in SUBJECTS:
                    await self._bus.nc.subscribe(subject, cb=self._hear)
                await self._bus.nc.subscribe(subjects.RECORDED, cb=self._hear_recorded)
            await stop
        finally:
            ready.cancel()
            stop.cancel()
            self.is_over = True
            for listener in self._listeners:
                listener.wake()

    @contextlib.contextmanager
    def listen(self, series_uid: str | None = None, *, instances: bool = False) -> Iterator[Listener]:
        """Tell a page what happens, all of it or what concerns one series; raises if too many pages listen.

        A page of all of it is told of receptions of instances only if it asks for ``instances``.
        """
        if len(self._listeners) >= MOST or self.is_over:
            raise UnavailableError("Too many pages are live at the same time")
        listener = Listener(series_uid, instances=instances)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _hear(self, message: Msg) -> None:
        if not self._listeners:
            return
        said = read(message.subject, message.data)
        for listener in tuple(self._listeners):
            listener.tell(said)

    async def _hear_recorded(self, message: Msg) -> None:
        if not self._listeners:
            return
        try:
            recorded = Recorded.model_validate_json(message.data)
        except ValidationError:
            log.warning("%s: what the bookkeeper says cannot be read; is it of another release?", message.subject)
            return
        for listener in tuple(self._listeners):
            listener.tell_recorded(recorded)


def read(subject: str, body: bytes) -> Said:
    """Return what a message says; of a delivery's, the series stands only in the body."""
    _, _, entity, verb, *rest = [*subject.split("."), "", ""]
    series = rest[0] if entity == "series" and rest else None
    if entity == "delivery" and verb != "progressed":
        with contextlib.suppress(ValueError, TypeError, KeyError):
            series = uid_token(str(json.loads(body)["series_uid"]))
    return Said(entity, verb, series)
