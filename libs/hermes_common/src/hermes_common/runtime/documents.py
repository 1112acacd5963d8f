"""The small JSON documents of the store (manifests, decisions, rounds), each with a copy on the bus (ADR-0032).

A store may acknowledge what a power cut takes from it again; the bus may not. So a document is written to both, and the
copy goes only when the store has been seen to hold the same bytes for a grace. Until then it stands in for the
document wherever that is missing, and is put back into the store.

A copy lies in the stream as parts of at most :data:`PART` octets of the compressed document, one subject each, the
first one first. What is forgotten is void by a message of its own (``gone``), so that whoever puts a copy back
meanwhile learns of it.
"""

import asyncio
import hashlib
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from prometheus_client import Counter
from pydantic import BaseModel, ValidationError

from hermes_common import subjects
from hermes_common.runtime.bus import Bus, StoredMessage
from hermes_common.runtime.errors import TransientError
from hermes_common.runtime.objectstore import (
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    StoreError,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

RESTORED = Counter("hermes_documents_restored_total", "Documents put back into the object store from their copies")

LARGEST: Final = 256 * 1024 * 1024
"""Octets of a document that are read at most: a manifest of half a million instances."""

PART: Final = 512 * 1024
"""Octets of a message at most: a server takes 1 MB unless it is told otherwise."""

GRACE: Final = timedelta(minutes=10)
"""How long a store has had a document before its copy goes: far longer than a system holds what it has to write."""

SETTLE_EVERY: Final = timedelta(minutes=5)
AGAIN: Final = timedelta(seconds=15)
"""How soon it is gone on with when the store or the bus was away, or the time was over."""

SETTLE_WITHIN: Final = timedelta(minutes=1)
"""Time that one look through the copies takes at most; the next one goes on."""

REMEMBERED: Final = "24h"
"""How long it is remembered that copies are void: far longer than putting one back takes."""

_KEY, _PARTS, _DIGEST, _THROUGH = "Hermes-Key", "Hermes-Parts", "Hermes-Digest", "Hermes-Through"
_AT_A_TIME = 8
"""Messages that are read at a time: 4 MB at most."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole copy: its bytes are those that its digest says. ``sequence``: of its first part."""

    key: str
    body: bytes
    sequence: int


@dataclass(slots=True)
class Settled:
    """What a look through the copies came to."""

    looked_at: int = 0
    restored: int = 0
    damaged: int = 0
    """Copies of which a part is missing or has other bytes; nothing can be made of them."""
    removed: int = 0
    """Messages: the parts of copies that are needed no longer."""
    unfinished: bool = False
    """Whether the time was over before the end."""


class StoredDocuments:
    """Writes, reads and forgets documents. Blocks nothing: the store is called in threads."""

    def __init__(self, bus: Bus, store: ObjectStore, grace: timedelta = GRACE) -> None:
        self._bus = bus
        self._store = store
        self._grace = grace

    async def write(self, key: str, document: BaseModel) -> None:
        """Store a document and its copy; on return both are acknowledged. Raises TransientError if one is not."""
        body = document.model_dump_json().encode()
        put = asyncio.to_thread(self._store.put_bytes, key, body)
        for problem in await asyncio.gather(self._copy(key, body), put, return_exceptions=True):
            if isinstance(problem, BaseException):  # neither runs on while the caller tries again
                raise problem

    async def read(self, key: str, model: type[M], limit: int = LARGEST) -> M:
        """Return a document; out of its copy, which is put back, where the store has lost or damaged it.

        Raises ObjectMissing, ObjectTooLarge, ValidationError, or TransientError with the store or the bus away.
        """
        try:
            return model.model_validate_json(await asyncio.to_thread(self._store.get_bytes, key, limit))
        except (ObjectMissing, ValidationError, StoreUnavailable) as error:
            if isinstance(error, StoreUnavailable):
                await asyncio.to_thread(self._store.ping)  # it is the store that is away, and not the document
            copy = await self._copy_of(key)
            if copy is None or await self._is_void(copy):
                raise
            found = model.model_validate_json(copy.body)
            try:
                is_back = await self._put_back(copy, str(error))
            except StoreUnavailable as problem:
                log.warning("document %s is read from its copy, and cannot be put back yet: %s", key, problem)
                return found
            if not is_back:
                raise
            return found

    async def newest(self) -> int:
        """Return the place in the stream up to which there have been copies by now, for :meth:`forget`.

        Not only those of one folder that are still there: somebody may hold one that is not, and put it back.
        """
        return await self._bus.end_of(subjects.DOCUMENTS)

    async def forget(self, folder: str, through: int) -> None:
        """Make the copies void that a folder has up to ``through``; to be done before its documents are deleted."""
        if through:
            headers = {_KEY: folder, _THROUGH: str(through), "Nats-TTL": REMEMBERED}
            await self._bus.send(subjects.documents_gone(folder), b"", headers)
            await self._bus.purge(subjects.DOCUMENTS, subjects.documents_of(folder), through + 1)

    async def forget_one(self, key: str) -> None:
        """Remove the copy of a document that nothing names; to be done before it is deleted."""
        before = await self._last_part(key) + 1
        await self._bus.purge(subjects.DOCUMENTS, subjects.document_part(key, "*"), before)

    async def settle(self, within: timedelta = SETTLE_WITHIN) -> Settled:
        """Go through the copies that are older than the grace: put back what the store has not, remove the others.

        Raises TransientError with the store or the bus away; what has been put back by then stays.
        """
        deadline = time.monotonic() + within.total_seconds()
        at = await self._bus.server_time()
        settled = Settled()
        needed: list[int] = []
        heads: list[StoredMessage] = []
        last: StoredMessage | None = None
        async for head in self._bus.read(subjects.DOCUMENTS, subjects.DOCUMENT_HEADS, 0, _AT_A_TIME):
            if head.time is None or at - head.time < self._grace:
                needed.append(head.sequence)
                break
            heads.append(head)
            last = head
            if len(heads) == _AT_A_TIME:
                if time.monotonic() > deadline:
                    break
                needed += await self._unsettled(heads, at, settled)
                heads = []
        if heads and time.monotonic() > deadline:
            settled.unfinished = True
            needed.append(heads[0].sequence)
        else:
            needed += await self._unsettled(heads, at, settled)
        # the parts of a copy come after its first one, so whatever is before the first that is needed can go
        before = min(needed) if needed else await self._end_of(last, at)
        settled.removed = await self._bus.purge(subjects.DOCUMENTS, subjects.DOCUMENT_PARTS, before)
        return settled

    # -- one copy

    async def _last_part(self, key: str) -> int:
        return await self._bus.last_sequence(subjects.DOCUMENTS, subjects.document_part(key, "*"))

    async def _end_of(self, head: StoredMessage | None, at: datetime) -> int:
        """Return the place after the last copy that was looked at; that of its first part if it was written anew."""
        if head is None:
            return 0
        part = await self._bus.last(subjects.DOCUMENTS, subjects.document_part(head.headers.get(_KEY, ""), "*"))
        if part is None or part.time is None or at - part.time < self._grace:
            return head.sequence  # what was written meanwhile comes before its new end, and was not looked at
        return part.sequence + 1

    async def _copy(self, key: str, body: bytes) -> None:
        digest, parts = await asyncio.to_thread(_packed, body)
        headers = {_KEY: key, _PARTS: str(len(parts)), _DIGEST: digest}
        for number, part in enumerate(parts):
            await self._bus.send(subjects.document_part(key, number), part, headers)

    async def _copy_of(self, key: str) -> Copy | None:
        head = await self._bus.last(subjects.DOCUMENTS, subjects.document_part(key, 0))
        return None if head is None else await self._whole(head)

    async def _whole(self, head: StoredMessage) -> Copy | None:
        """Return the copy that begins with a message; None, which is logged, if it is not whole."""
        key, digest = head.headers.get(_KEY, ""), head.headers.get(_DIGEST, "")
        parts = [head.data]
        for number in range(1, _count(head.headers)):
            part = await self._bus.last(subjects.DOCUMENTS, subjects.document_part(key, number))
            if part is not None and part.headers.get(_DIGEST) == digest:
                parts.append(part.data)
        body = await asyncio.to_thread(_unpacked, parts, digest)
        if body is None:
            log.error("the copy of document %s is not whole", key)
            return None
        return Copy(key, body, head.sequence)

    async def _is_void(self, copy: Copy) -> bool:
        """Whether what the copy is of has been deleted, or is going to be."""
        gone = await self._bus.last(subjects.DOCUMENTS, subjects.documents_gone(copy.key.rpartition("/")[0]))
        return gone is not None and copy.sequence <= int(gone.headers.get(_THROUGH, "0"))

    async def _put_back(self, copy: Copy, why: str) -> bool:
        """Put a copy back into the store; return False, with nothing left there, if it became void meanwhile."""
        await asyncio.to_thread(self._store.put_bytes, copy.key, copy.body)
        if await self._is_void(copy):
            await asyncio.to_thread(self._store.delete, copy.key)
            return False
        RESTORED.inc()
        log.warning("document %s has been put back into the store from its copy: %s", copy.key, why)
        return True

    async def _unsettled(self, heads: Sequence[StoredMessage], at: datetime, settled: Settled) -> list[int]:
        """Return the sequences of the copies that are needed still."""
        found = await asyncio.gather(*(self._is_settled(head, at, settled) for head in heads))
        settled.looked_at += len(heads)
        return [head.sequence for head, is_settled in zip(heads, found, strict=True) if not is_settled]

    async def _is_settled(self, head: StoredMessage, at: datetime, settled: Settled) -> bool:
        """Whether a copy is needed no longer; puts it back if the store has not what it says."""
        copy = await self._whole(head)
        if copy is None:
            settled.damaged += 1
            return True
        if await self._is_void(copy):
            return True
        if why := await asyncio.to_thread(self._difference, copy):
            is_back = await self._put_back(copy, why)
            settled.restored += is_back
            return False
        info = await asyncio.to_thread(self._store.stat, copy.key)
        return info is not None and at - info.modified >= self._grace  # it may have been put back just now

    def _difference(self, copy: Copy) -> str:
        """Return what is wrong with the document in the store, empty if nothing is; StoreUnavailable if it is away."""
        try:
            found = self._store.get_bytes(copy.key, LARGEST)
        except (ObjectMissing, ObjectTooLarge) as error:
            return str(error)
        except StoreUnavailable as error:
            self._store.ping()
            return str(error)
        return "" if found == copy.body else "it has other bytes there"


class Settler:
    """Goes through the copies at the start and again and again, until cancelled."""

    def __init__(self, documents: StoredDocuments, every: timedelta = SETTLE_EVERY) -> None:
        self._documents = documents
        self._every = every

    async def run(self) -> None:
        """Do it; a store or a bus that is away, or a key that the store cannot have, is only said."""
        while True:
            wait = self._every
            try:
                settled = await self._documents.settle()
            except (TransientError, StoreError) as error:
                log.warning("the copies of documents cannot be looked through now: %s", error)
                wait = min(wait, AGAIN)
            else:
                wait = min(wait, AGAIN) if settled.unfinished else wait
                if settled.restored or settled.damaged:
                    log.warning(
                        "of %d copies of documents, %d were put back into the store, and %d were not whole",
                        settled.looked_at,
                        settled.restored,
                        settled.damaged,
                    )
            await asyncio.sleep(wait.total_seconds())


def _packed(body: bytes) -> tuple[str, Sequence[bytes]]:
    """Return the digest of a document, and the parts that it is sent in."""
    packed = zlib.compress(body, 1)
    return hashlib.sha256(body).hexdigest(), [packed[start : start + PART] for start in range(0, len(packed), PART)]


def _unpacked(parts: Sequence[bytes], digest: str) -> bytes | None:
    """Return the document that parts make; None if they do not make the one of this digest."""
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(b"".join(parts), LARGEST)
    except zlib.error:
        return None
    return body if hashlib.sha256(body).hexdigest() == digest else None


def _count(headers: Mapping[str, str]) -> int:
    number = headers.get(_PARTS, "")
    return min(int(number), LARGEST // PART) if number.isdigit() else 0
