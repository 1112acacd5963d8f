"""The configuration as a service sees it: the present revision of each document, kept up to date from the bus."""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import nats.errors
import nats.js.errors
from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.config import MODELS, Alerting, AnyDocument, Kind, Policies, Revision, RuleSet, Sources, Targets
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError

log = logging.getLogger(__name__)

_POLL = 10.0
_STEP = 0.25
"""Seconds between looks at whether the bus was connected anew."""


def default(kind: Kind) -> Revision:
    """Return revision 0 of a kind: what holds before anybody saved one."""
    return Revision(kind=kind, revision=0, author="hermes", time=now(), document=MODELS[kind]().model_dump(mode="json"))


class ConfigView:
    """The present revision of every document; changes arrive within a second."""

    def __init__(self, bus: Bus, cache: Path | None = None) -> None:
        self._bus = bus
        self._cache = cache
        """Where the last known revisions are kept, for a service that must start while the bus is away."""
        self._revisions: dict[Kind, Revision] = {}
        self._parsed: dict[Kind, tuple[int, AnyDocument]] = {}
        self._listeners: list[Callable[[Revision], None]] = []
        self._unreadable: dict[Kind, str] = {}
        self.loaded = asyncio.Event()
        """Set when there is a usable revision of every kind, be it the built-in default of one that nobody saved."""

    def on_change(self, listener: Callable[[Revision], None]) -> None:
        """Have ``listener`` called with each new revision, on the event loop."""
        self._listeners.append(listener)

    def revision(self, kind: Kind) -> Revision:
        """Return the present revision of a document."""
        return self._revisions.get(kind) or default(kind)

    @property
    def rules(self) -> tuple[int, RuleSet]:
        """The rules, with their revision."""
        return self.revision(Kind.RULES).revision, cast(RuleSet, self._document(Kind.RULES))

    @property
    def targets(self) -> Targets:
        """The targets."""
        return cast(Targets, self._document(Kind.TARGETS))

    @property
    def sources(self) -> Sources:
        """The sources."""
        return cast(Sources, self._document(Kind.SOURCES))

    @property
    def policies(self) -> Policies:
        """The policies."""
        return cast(Policies, self._document(Kind.POLICIES))

    @property
    def alerting(self) -> Alerting:
        """Conditions, channels and silences of alerts."""
        return cast(Alerting, self._document(Kind.ALERTING))

    def _document(self, kind: Kind) -> AnyDocument:
        stored = self._revisions.get(kind)
        number = 0 if stored is None else stored.revision
        known = self._parsed.get(kind)
        if known is None or known[0] != number:
            known = (number, (stored or default(kind)).parsed())
            self._parsed[kind] = known
        return known[1]

    async def run(self) -> None:
        """Follow the bucket until cancelled."""
        self._load_cache()
        await self._bus.ready()
        while True:
            try:
                await self.refresh()
                await self._follow()
                continue
            except BusUnavailableError as error:
                log.warning("configuration: %s", error)
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
                log.warning("configuration: the bus did not answer: %s", str(error) or type(error).__name__)
            await asyncio.sleep(1)

    def problem(self) -> str | None:
        """Return which documents cannot be read, in words, or None.

        One that cannot be read is never replaced by the built-in default: the last good revision holds, and where there
        is none, work waits.
        """
        return "; ".join(self._unreadable.values()) or None

    def is_unknown(self, kind: Kind) -> bool:
        """Return whether there is a revision that cannot be read, and no other to go by."""
        return kind in self._unreadable and kind not in self._revisions

    async def refresh(self) -> bool:
        """Read every document now; return whether one of them was new."""
        fresh = False
        for kind in Kind:
            try:
                found = await self._bus.load(subjects.CONFIG, kind.value, Revision)
            except ValidationError as error:
                self._cannot_read(kind, f"the stored {kind.value} cannot be read: {error.error_count()} mistakes")
                continue
            if found is not None:
                fresh = self._take(found[0]) or fresh
        if not any(self.is_unknown(kind) for kind in Kind):
            self.loaded.set()
        return fresh

    def _cannot_read(self, kind: Kind, reason: str) -> None:
        if self._unreadable.get(kind) != reason:
            log.error("configuration: %s; is a newer release running?", reason)
        self._unreadable[kind] = reason

    async def _follow(self) -> None:
        """Take what the bucket says, until it is to be asked anew.

        What watches the bucket lives in the server: one that comes back after a kill has forgotten it and says nothing.
        So a new connection, and a revision that was found by reading and not heard of, end the watch.
        """
        connection = self._bus.connection
        kv = await self._bus.js.key_value(subjects.CONFIG)
        watcher = await kv.watchall()
        read = time.monotonic()
        try:
            while self._bus.connection == connection:
                if time.monotonic() - read > _POLL:
                    read = time.monotonic()
                    if await self.refresh():
                        return
                try:
                    entry = await watcher.updates(timeout=_STEP)  # type: ignore[no-untyped-call]
                except (TimeoutError, nats.errors.TimeoutError):
                    continue
                if entry is None or entry.value is None or entry.key not in set(Kind):
                    continue
                try:
                    self._take(Revision.model_validate_json(entry.value))
                except ValidationError:
                    log.exception("configuration: revision %s of %s cannot be read", entry.revision, entry.key)
        finally:
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError):
                await watcher.stop()  # type: ignore[no-untyped-call]

    def _take(self, revision: Revision) -> bool:
        known = self._revisions.get(revision.kind)
        if known is not None and known.revision >= revision.revision:
            return False
        try:
            parsed = revision.parsed()
        except ValidationError as error:
            reason = f"revision {revision.revision} of the {revision.kind.value} cannot be read"
            self._cannot_read(revision.kind, f"{reason}: {error.error_count()} mistakes")
            return False
        self._unreadable.pop(revision.kind, None)
        self._revisions[revision.kind] = revision
        self._parsed[revision.kind] = (revision.revision, parsed)
        log.info("configuration: %s is at revision %d", revision.kind.value, revision.revision)
        self._store_cache()
        for listener in self._listeners:
            listener(revision)
        return True

    def _load_cache(self) -> None:
        if self._cache is None or not self._cache.exists():
            return
        try:
            for item in json.loads(self._cache.read_bytes()):
                self._take(Revision.model_validate(item))
        except (OSError, ValueError) as error:
            log.warning("configuration: the copy in %s cannot be read: %s", self._cache, error)

    def _store_cache(self) -> None:
        if self._cache is None:
            return
        temporary = self._cache.with_suffix(".part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump([item.model_dump(mode="json") for item in self._revisions.values()], file)
            temporary.replace(self._cache)
        except OSError as error:
            log.warning("configuration: the copy in %s cannot be written: %s", self._cache, error)
