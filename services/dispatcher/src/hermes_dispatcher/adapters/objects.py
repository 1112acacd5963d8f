"""Instances out of the object store, checked against the digest with which they were received before they are sent.

The bytes that are checked are the bytes that are sent: they are held in memory up to a bound, and in a file beyond it.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, PREAMBLE_LENGTH, FileMeta, parse_file_meta
from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.runtime.objectstore import KeyInvalid, ObjectMissing, ObjectStore, ObjectStream, ObjectTooLarge
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

LARGEST_MANIFEST = 256 * 1024 * 1024
AHEAD = 2
"""Instances that are read and checked while another one is being sent."""

PACED = 32 * 1024
"""Octets that are sent between two looks at a limit."""

_HEAD = PREAMBLE_LENGTH + 4 + MAX_META_LENGTH
_BLOCK = 1024 * 1024


class ManifestUnusableError(Exception):
    """The manifest of a delivery is missing from the store or cannot be read; the message says which."""


@dataclass(frozen=True, slots=True)
class Item:
    """One instance to be sent, and its position in the manifest."""

    position: int
    study_uid: str
    series_uid: str
    instance: ManifestInstance


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked instance: the data set in memory, or in a file of its own that is removed by :meth:`close`."""

    meta: FileMeta
    octets: int
    data: bytes
    file: Path | None = None
    pace: Callable[[int], None] | None = None
    """Waits until so many octets may be sent, where there is a limit."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the data set, at the pace of the limit if there is one."""
        return self._whole() if self.pace is None else self._at_pace(self.pace)

    def _whole(self) -> Iterator[bytes]:
        if self.file is None:
            yield self.data
            return
        with self.file.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block

    def _at_pace(self, pace: Callable[[int], None]) -> Iterator[bytes]:
        for chunk in self._whole():
            for start in range(0, len(chunk), PACED):
                block = chunk[start : start + PACED]
                pace(len(block))
                yield block

    def close(self) -> None:
        """Remove the file, if there is one."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


class Supply(Protocol):
    """Instances in order, each checked, or why it cannot be sent. Raises what the store raises when it is away."""

    def __call__(self, items: Sequence[Item]) -> Generator[tuple[Item, Prepared | NotDelivered], None, None]:
        """Yield each item with its data set; to be closed."""


class Objects:
    """Reads manifests and instances of one store."""

    def __init__(self, store: ObjectStore, memory: int, temporary: Path | None = None) -> None:
        self._store = store
        self._memory = memory
        self._temporary = temporary

    async def manifest(self, key: str) -> Manifest:
        """Return a manifest; :class:`ManifestUnusableError`, or TransientError with the store away."""
        try:
            body = await asyncio.to_thread(self._store.get_bytes, key, LARGEST_MANIFEST)
            return Manifest.model_validate_json(body)
        except (ObjectMissing, ObjectTooLarge, KeyInvalid) as error:
            raise ManifestUnusableError(f"the manifest cannot be had: {error}") from error
        except ValidationError as error:
            raise ManifestUnusableError(f"the manifest {key} cannot be read: {error.error_count()} mistakes") from error

    def supply(self, items: Sequence[Item]) -> Generator[tuple[Item, Prepared | NotDelivered], None, None]:
        """Yield each item with its data set; a few are read ahead. See :class:`Supply`."""
        pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead")
        waiting: list[tuple[Item, Future[Prepared | NotDelivered]]] = []
        upcoming = iter(items)
        try:
            for item in upcoming:
                waiting.append((item, pool.submit(self.prepare, item.instance)))
                if len(waiting) > AHEAD:
                    yield _ready(waiting)
            while waiting:
                yield _ready(waiting)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for _, future in waiting:
                future.add_done_callback(_discard)

    def prepare(self, instance: ManifestInstance) -> Prepared | NotDelivered:
        """Read and check one instance."""
        try:
            with self._store.open(instance.key) as stream:
                return self._read(instance, stream)
        except (ObjectMissing, KeyInvalid) as error:
            return _damaged(str(error))
        except NotPart10 as error:
            return _damaged(f"object {instance.key!r} is no DICOM file: {error.reason}")

    def _read(self, instance: ManifestInstance, stream: ObjectStream) -> Prepared | NotDelivered:
        if stream.size <= self._memory:
            whole = stream.read()
            part10 = parse_file_meta(whole[:_HEAD])
            data = whole[part10.offset :]
            problem = _problem(instance, part10.meta, hashlib.sha256(data).hexdigest())
            return problem or Prepared(part10.meta, len(data), data)
        head = stream.read(_HEAD)
        part10 = parse_file_meta(head)
        digest = hashlib.sha256(head[part10.offset :])
        with ExitStack() as undo:
            with tempfile.NamedTemporaryFile(
                dir=self._temporary, prefix="hermes-", suffix=".part", delete=False
            ) as file:
                path = Path(file.name)
                undo.callback(path.unlink, missing_ok=True)
                file.write(head[part10.offset :])
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    file.write(block)
            problem = _problem(instance, part10.meta, digest.hexdigest())
            if problem is not None:
                return problem
            undo.pop_all()
            return Prepared(part10.meta, stream.size - part10.offset, b"", path)


def _problem(instance: ManifestInstance, meta: FileMeta, digest: str) -> NotDelivered | None:
    if digest != instance.digest:
        return _damaged(f"the bytes of object {instance.key!r} are not those that were received (SHA-256 differs)")
    if meta.transfer_syntax != instance.transfer_syntax_uid:
        return _damaged(f"the transfer syntax of object {instance.key!r} is not that with which it was received")
    return None


def _damaged(reason: str) -> NotDelivered:
    return NotDelivered(Trouble.CORRUPT, reason)


def _ready(waiting: list[tuple[Item, "Future[Prepared | NotDelivered]"]]) -> tuple[Item, Prepared | NotDelivered]:
    item, future = waiting.pop(0)
    return item, future.result()


def _discard(future: "Future[Prepared | NotDelivered]") -> None:
    if not future.cancelled() and future.exception() is None:
        prepared = future.result()
        if isinstance(prepared, Prepared):
            prepared.close()
