"""From the spool to the object store and the bus: an entry is done when the object is stored and the event
acknowledged.

Every entry is tried for ever. Trouble of the store or the bus holds the workers, with growing pauses; trouble of one
entry only sends that entry to the back of the queue, so that it cannot stop the others.

A worker takes what waits in batches: one visit to a thread puts the objects, their events are published side by side.
Its digest is made here, and what is read for it is compared with the checksum of what came in.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from hermes_common.events import InstanceQuarantined, InstanceStored
from hermes_common.keys import quarantine_key
from hermes_common.runtime.clock import now
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import TransientError
from hermes_common.runtime.objectstore import ObjectMissing, Puts, StoreError, StoreUnavailable
from hermes_common.runtime.tracing import within
from hermes_receiver.adapters import metrics, traces
from hermes_receiver.adapters.entry import Entry, read_entry
from hermes_receiver.adapters.spool import PENDING, Folder, Spool
from hermes_receiver.core.backoff import delay
from hermes_receiver.core.collecting import Collected
from hermes_receiver.core.reception import DamagedEntryError, quarantined_event, stored_event
from hermes_receiver.core.verdict import Keep
from hermes_receiver.handlers.ports import Objects, Publisher

log = logging.getLogger(__name__)

T = TypeVar("T")

_COMPARED: Final = 256 * 1024
"""Octets of a copy and its object that are compared at a time."""

_ENTRY_RETRY: Final = timedelta(seconds=30)
_BATCH: Final = 32
_GATHER: Final = timedelta(milliseconds=50)
"""How often the event loop is woken for instances that come in: each time costs the receiving threads their turn."""
_BATCH_TIME: Final = 0.05
"""Seconds after which a batch of puts is cut short, so that what is stored is announced."""
_PUT_AGAIN: Final = 60.0
"""Seconds after which objects whose events are not published yet are put again first."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry in the queue, and the folder it waits in."""

    entry: str
    folder: Folder


Put = tuple[Waiting, Entry, InstanceStored | InstanceQuarantined]
"""An entry whose object is put, and what is to be announced of it."""


@dataclass(slots=True)
class Batch:
    """Entries on their way: those still to be put, and those that are put, with their events."""

    left: list[Waiting]
    put: list[Put] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)
    """When its objects were last known to be put, on the monotonic clock."""
    begun: datetime = field(default_factory=now)


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
        self._offered: deque[Waiting] = deque()
        self._nudged = False
        self._taken: set[str] = set()
        self._awaited: dict[str, Future[bool]] = {}
        self._store_is_doubtful = False
        """Whether it has a name without its bytes: then all copies are uploaded again, which is faster than to ask."""
        self.finished: asyncio.Queue[str] = asyncio.Queue()
        """Ids that have reached ``done``, for whoever removes them later."""

    def offer(self, entry: str, *, quarantined: bool) -> None:
        """Take note of an entry; callable from any thread. After the loop has ended the next start finds it."""
        self._offered.append(Waiting(entry, Folder.QUARANTINE if quarantined else Folder.READY))
        if self._nudged and entry not in self._awaited:
            return
        self._nudged = True
        try:
            self._loop.call_soon_threadsafe(self._gather, entry in self._awaited)
        except RuntimeError:
            log.debug("the event loop has ended; entry %s waits for the next start", entry)

    def _gather(self, at_once: bool) -> None:
        if at_once:
            self._take_in()
        else:
            self._loop.call_later(_GATHER.total_seconds(), self._take_in)

    def _take_in(self) -> None:
        """Queue what has been offered. An entry that is offered meanwhile is taken now or nudges again."""
        self._nudged = False
        while self._offered:
            self._enqueue(self._offered.popleft())

    def _enqueue(self, waiting: Waiting) -> bool:
        """Queue an entry unless it is queued or under way already."""
        if waiting.entry in self._taken:
            return False
        self._taken.add(waiting.entry)
        self._queue.put_nowait(waiting)
        return True

    def expect(self, entry: str) -> Future[bool]:
        """Return what becomes true when ``entry``, which is to be offered after this, is stored and announced, and
        false when it cannot be. Whoever awaits it has to :meth:`forget` it. Callable from any thread.
        """
        return self._awaited.setdefault(entry, Future())

    def forget(self, entry: str) -> None:
        """Nobody waits for ``entry`` any more; callable from any thread."""
        self._awaited.pop(entry, None)

    def replay(self) -> int:
        """Queue everything that waits in the spool; return how many. To be called on the event loop, before anything is
        received.
        """
        return sum(map(self._enqueue, self._waiting()))

    async def look(self) -> int:
        """Queue what waits in the spool and nobody has told of; return how many. At any time."""
        found = await self._in_thread(self._waiting)
        self._take_in()
        return sum(self._enqueue(item) for item in found if self._spool.path(item.folder, item.entry).exists())

    def _waiting(self) -> list[Waiting]:
        """Return what waits in the spool, oldest first."""
        waiting = [Waiting(entry, folder) for folder in PENDING for entry in self._spool.entries(folder)]
        return sorted(waiting, key=lambda item: item.entry)

    @property
    def is_busy(self) -> bool:
        """Whether entries are queued or under way."""
        return bool(self._taken)

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
        self._take_in()
        await self._queue.join()

    async def checked(self) -> set[str]:
        """Check the copies (:meth:`check_done`), and note in the spool when that is done for all of them.

        Return those of which nothing can be told: they are to be kept.
        """
        unknown = await self.check_done()
        if not unknown:
            await self._in_thread(self._spool.checked)
        return unknown

    async def check_done(self) -> set[str]:
        """After an unclean stop: bring back every entry of ``done`` of which the store does not have the very bytes.
        Return those of which that cannot be told.
        """
        left = list(self._spool.entries(Folder.DONE))
        unknown: set[str] = set()

        async def check() -> None:
            while left:
                entry = left.pop()
                try:
                    await self._until_store_answers(partial(self._check, entry))
                except (OSError, StoreError, ValueError) as exc:
                    log.error("the copy %s cannot be checked, and is kept: %s", entry, exc)
                    unknown.add(entry)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._parallel):
                group.create_task(check())
        return unknown

    # -- one entry

    async def _worker(self) -> None:
        while True:
            batch = Batch([await self._queue.get()])
            share = min(_BATCH, self._queue.qsize() // self._parallel)
            batch.left += [self._queue.get_nowait() for _ in range(share)]
            taken = len(batch.left)
            attempt = 0
            while batch.left or batch.put:
                attempt += 1
                try:
                    await self._upload(batch)
                    attempt = 0
                except (StoreUnavailable, TransientError) as exc:
                    self._note_trouble(str(exc))
                    await asyncio.sleep(delay(attempt, random.random()).total_seconds())  # noqa: S311 - jitter
            for _ in range(taken):
                self._queue.task_done()

    async def _upload(self, batch: Batch) -> None:
        """Put some of what is left, announce what is put. Raises StoreUnavailable or TransientError; what is done by
        then has left the batch.
        """
        if batch.put and time.monotonic() - batch.since > _PUT_AGAIN:
            await self._in_thread(lambda: self._put_again(batch))
        if not batch.put:
            batch.since = time.monotonic()
        trouble = await self._in_thread(lambda: self._put_some(batch))
        if batch.put:
            await self._announce(batch)
        if trouble is not None:
            raise trouble
        self._trouble = None

    def _put_again(self, batch: Batch) -> None:
        """Put objects once more whose events could not be published for long: a sweep may have taken them for orphans
        meanwhile. Raises StoreUnavailable.
        """
        for waiting, entry, _ in batch.put:
            self._objects.put_file(_event(entry)[1], self._spool.path(waiting.folder, waiting.entry))
        batch.since = time.monotonic()

    def _put_some(self, batch: Batch) -> StoreUnavailable | None:
        """Put objects for a short while, in a thread; return what keeps the store from taking more."""
        put: list[Put] = []
        try:
            with self._objects.together() as puts:
                trouble = self._put_until(time.monotonic() + _BATCH_TIME, batch.left, puts, put)
        except StoreUnavailable as exc:
            batch.left = [waiting for waiting, _, _ in put] + batch.left  # visible perhaps, not durable
            return exc
        if put:
            crash_point("upload.stored")
        batch.put += put
        return trouble

    def _put_until(self, end: float, left: list[Waiting], puts: Puts, put: list[Put]) -> StoreUnavailable | None:
        """Put one object, and more until ``end``: from ``left`` to ``put``. Return why it ends before."""
        while left and (not put or time.monotonic() < end):
            waiting = left[0]
            path = self._spool.path(waiting.folder, waiting.entry)
            try:
                entry = read_entry(waiting.entry, path, self._collected())
                event, key = _event(entry)
                puts.put_file(key, path)
            except StoreUnavailable as exc:
                return exc
            except FileNotFoundError:
                is_done = self._spool.path(Folder.DONE, waiting.entry).exists()  # found, and told of only then
                log.log(logging.DEBUG if is_done else logging.ERROR, "the spool file %s has disappeared", path.name)
                self._loop.call_soon_threadsafe(self._taken.discard, waiting.entry)
            except (StoreError, DamagedEntryError, OSError, ValueError) as exc:
                self._loop.call_soon_threadsafe(self._put_back, waiting, exc)
            else:
                put.append((waiting, entry, event))
            left.pop(0)
        return None

    async def _announce(self, batch: Batch) -> None:
        """Publish side by side; what is acknowledged is done, whatever becomes of the others."""
        results = await asyncio.gather(
            *(self._publish(waiting, entry, event) for waiting, entry, event in batch.put), return_exceptions=True
        )
        done = [item for item, result in zip(batch.put, results, strict=True) if result is None]
        failures = [(item[0], result) for item, result in zip(batch.put, results, strict=True) if result is not None]
        batch.put = [
            item for item, result in zip(batch.put, results, strict=True) if isinstance(result, TransientError)
        ]
        await self._in_thread(lambda: self._finish([waiting for waiting, _, _ in done]))
        traces.uploaded((event for _, _, event in done), batch.begun)
        for waiting, _, event in done:
            self._taken.discard(waiting.entry)
            self._stuck.pop(waiting.entry, None)
            metrics.UPLOADED.labels("instance" if isinstance(event, InstanceStored) else "quarantine").inc()
            self.finished.put_nowait(waiting.entry)
            self._settle(waiting.entry, stored=isinstance(event, InstanceStored))
        metrics.PENDING.set(self._spool.all_pending)
        for waiting, failure in failures:
            if isinstance(failure, (DamagedEntryError, OSError, ValueError)):
                self._put_back(waiting, failure)
            else:
                raise failure

    async def _publish(self, waiting: Waiting, entry: Entry, event: InstanceStored | InstanceQuarantined) -> None:
        with within(traces.context_of(event)):
            await self._publisher.publish(event, event_id=waiting.entry, time=entry.note.received_at)
        crash_point("upload.announced")

    def _finish(self, done: list[Waiting]) -> None:
        for waiting in done:
            self._spool.finish(waiting.folder, waiting.entry)

    def _settle(self, entry: str, *, stored: bool) -> None:
        awaited = self._awaited.get(entry)
        if awaited is not None and not awaited.done():
            awaited.set_result(stored)

    def _put_back(self, waiting: Waiting, exc: Exception) -> None:
        """One entry makes trouble that is its own: it is tried again later, behind all others."""
        metrics.UPLOAD_RETRIES.inc()
        self._stuck[waiting.entry] = str(exc)
        self._settle(waiting.entry, stored=False)
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
        if not self._store_is_doubtful and self._is_stored(key, read):
            return
        log.warning("the object of spool entry %s is not in the store: it is uploaded again", entry)
        self._spool.revive(entry)
        self.offer(entry, quarantined=False)  # what it is stands in the file, whichever folder it waits in

    def _is_stored(self, key: str, copy: Entry) -> bool:
        """Whether the store has the very bytes of a copy: that it knows the name and the size says nothing of them."""
        try:
            with self._objects.open(key) as stream, copy.path.open("rb") as file:
                if stream.size != copy.octets:
                    return False
                while block := stream.read(_COMPARED):
                    if block != file.read(len(block)):
                        return False
                return True
        except ObjectMissing:
            return False
        except StoreUnavailable:
            self._objects.stat(key)  # if it answers, it is this object that cannot be read, and not the store
            self._store_is_doubtful = True
            return False

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
        stored = stored_event(entry.id, entry.meta, entry.note, entry.verdict.header, entry.octets, entry.digest)
        return stored, stored.key
    reason = entry.verdict.reason
    return quarantined_event(entry.id, entry.meta, entry.note, entry.octets, reason), quarantine_key(entry.id)
