"""From the spool to the object store and the bus: an entry is done when the object is stored and the event
acknowledged.

Every entry is tried for ever. Trouble of the store or the bus holds the workers, with growing pauses; trouble of one
entry only
sends that entry to the back of the queue, so that it cannot stop the others.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from hermes_common.events import InstanceQuarantined, InstanceStored
from hermes_common.keys import quarantine_key
from hermes_common.runtime.errors import TransientError
from hermes_common.runtime.objectstore import StoreError, StoreUnavailable
from hermes_receiver.adapters import metrics
from hermes_receiver.adapters.crashpoints import crash_point
from hermes_receiver.adapters.entry import Entry, read_entry
from hermes_receiver.adapters.spool import Folder, Spool
from hermes_receiver.core.backoff import delay
from hermes_receiver.core.collecting import Collected
from hermes_receiver.core.reception import DamagedEntryError, quarantined_event, stored_event
from hermes_receiver.core.verdict import Keep
from hermes_receiver.handlers.ports import Objects, Publisher

log = logging.getLogger(__name__)

T = TypeVar("T")

_ENTRY_RETRY: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry in the queue, and the folder it waits in."""

    entry: str
    folder: Folder


class Uploader:
    """Uploads entries in parallel; owns the threads in which the object store is called."""

    def __init__(
        self, spool: Spool, objects: Objects, publisher: Publisher, collected: Collected, parallel: int
    ) -> None:
        self._spool = spool
        self._objects = objects
        self._publisher = publisher
        self._collected = collected
        self._parallel = parallel
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="upload")
        self._trouble: str | None = None
        self._stuck: dict[str, str] = {}
        self.finished: asyncio.Queue[str] = asyncio.Queue()
        """Ids that have reached ``done``, for whoever removes them later."""

    def offer(self, entry: str, *, quarantined: bool) -> None:
        """Take note of an entry; callable from any thread. After the loop has ended the next start finds it."""
        waiting = Waiting(entry, Folder.QUARANTINE if quarantined else Folder.READY)
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, waiting)
        except RuntimeError:
            log.debug("the event loop has ended; entry %s waits for the next start", entry)

    def replay(self) -> int:
        """Queue everything that waits in the spool; return how many. To be called once, before anything is received."""
        waiting = [
            Waiting(entry, folder)
            for folder in (Folder.READY, Folder.QUARANTINE)
            for entry in self._spool.entries(folder)
        ]
        for item in sorted(waiting, key=lambda w: w.entry):
            self._queue.put_nowait(item)
        return len(waiting)

    def problem(self) -> str | None:
        """Return why uploading does not get on, in words, or None."""
        if self._trouble is None and self._stuck:
            entry, reason = next(iter(self._stuck.items()))
            return f"{len(self._stuck)} spool entries cannot be uploaded, {entry} for one: {reason}"
        return self._trouble

    async def run(self) -> None:
        """Upload until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._parallel):
                    group.create_task(self._worker())
        finally:
            await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def idle(self) -> None:
        """Wait until the queue has been empty and every entry taken from it is done."""
        await self._queue.join()

    async def check_done(self) -> None:
        """After an unclean stop: bring back every entry of ``done`` that the store does not have, or has at another
        size.
        """
        for entry in self._spool.entries(Folder.DONE):
            try:
                await self._until_store_answers(lambda entry=entry: self._check(entry))  # type: ignore[misc]
            except (OSError, StoreError, ValueError) as exc:
                log.error("the copy %s cannot be checked, and is kept: %s", entry, exc)

    # -- one entry

    async def _worker(self) -> None:
        while True:
            waiting = await self._queue.get()
            attempt = 0
            while True:
                attempt += 1
                try:
                    await self._upload(waiting)
                except (StoreUnavailable, TransientError) as exc:
                    self._note_trouble(str(exc))
                    await asyncio.sleep(delay(attempt, random.random()).total_seconds())  # noqa: S311 - jitter
                    continue
                except (StoreError, DamagedEntryError, OSError, ValueError) as exc:
                    self._put_back(waiting, exc)
                break
            self._queue.task_done()

    async def _upload(self, waiting: Waiting) -> None:
        path = self._spool.path(waiting.folder, waiting.entry)
        try:
            entry = await self._in_thread(lambda: read_entry(waiting.entry, path, self._collected()))
        except FileNotFoundError:
            log.error("the spool file %s has disappeared", path.name)
            return
        event, key = _event(entry)
        await self._in_thread(lambda: self._objects.put_file(key, path))
        crash_point("upload.stored")
        await self._publisher.publish(event, event_id=waiting.entry, time=entry.note.received_at)
        crash_point("upload.announced")
        await self._in_thread(lambda: self._spool.finish(waiting.folder, waiting.entry))
        self._trouble = None
        self._stuck.pop(waiting.entry, None)
        metrics.UPLOADED.labels("instance" if isinstance(event, InstanceStored) else "quarantine").inc()
        metrics.PENDING.set(self._spool.pending)
        self.finished.put_nowait(waiting.entry)

    def _put_back(self, waiting: Waiting, exc: Exception) -> None:
        """One entry makes trouble that is its own: it is tried again later, behind all others."""
        metrics.UPLOAD_RETRIES.inc()
        self._stuck[waiting.entry] = str(exc)
        log.error("spool entry %s cannot be uploaded and stays in the spool: %s", waiting.entry, exc)
        self._loop.call_later(_ENTRY_RETRY.total_seconds(), self._queue.put_nowait, waiting)

    def _note_trouble(self, words: str) -> None:
        metrics.UPLOAD_RETRIES.inc()
        if self._trouble is None:
            log.warning("uploading does not get on: %s", words)
        self._trouble = words

    # -- after an unclean stop

    def _check(self, entry: str) -> None:
        path = self._spool.path(Folder.DONE, entry)
        try:
            read = read_entry(entry, path, self._collected())
        except FileNotFoundError:
            return
        except DamagedEntryError as exc:
            log.error("the copy %s in done cannot be read: %s", entry, exc)
            return
        _, key = _event(read)
        found = self._objects.stat(key)
        if found is not None and getattr(found, "size", None) == read.octets:
            return
        log.warning("the object of spool entry %s is not in the store: it is uploaded again", entry)
        self._spool.revive(entry)
        self.offer(entry, quarantined=False)  # what it is stands in the file, whichever folder it waits in

    async def _until_store_answers(self, step: Callable[[], None]) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._in_thread(step)
            except StoreUnavailable as exc:
                self._note_trouble(str(exc))
                await asyncio.sleep(delay(attempt, random.random()).total_seconds())  # noqa: S311 - jitter
                continue
            return

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._threads, call)


def _event(entry: Entry) -> tuple[InstanceStored | InstanceQuarantined, str]:
    """Return what is to be announced, and the key of the object."""
    if isinstance(entry.verdict, Keep):
        stored = stored_event(entry.id, entry.meta, entry.note, entry.verdict.header, entry.octets)
        return stored, stored.key
    reason = entry.verdict.reason
    return quarantined_event(entry.id, entry.meta, entry.note, entry.octets, reason), quarantine_key(entry.id)
