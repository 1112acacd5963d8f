"""Instances out of the object store, checked against the digest with which they were received before they are sent.

The bytes that are checked are the bytes that are sent: they are held in memory up to a bound, and in a file beyond it.
"""

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, PREAMBLE_LENGTH, FileMeta, Part10, parse_file_meta
from hermes_common.manifest import ManifestInstance
from hermes_common.runtime.objectstore import KeyInvalid, ObjectMissing, ObjectStore, ObjectStream
from hermes_dispatcher.adapters.buffers import LARGEST, Borrowed, Buffers
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

AHEAD = 2
"""Portions of instances that are read and checked while another one is being sent."""

PACED = 32 * 1024
"""Octets that are sent between two looks at a limit."""

PORTION = 256 * 1024
"""Octets of small instances that are read one after the other, and handed over together."""

MOST_IN_PORTION = 16

_PREFIX = PREAMBLE_LENGTH + 4
_HEAD = _PREFIX + MAX_META_LENGTH
_GROUP_LENGTH = 12
"""Octets of the element that says how long group 0002 is."""

_GROUP_2 = b"\2\0"
_SMALL = 64 * 1024
"""Octets for which the interpreter has memory at hand."""

_BLOCK = 1024 * 1024


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
    data: bytes | memoryview
    file: Path | None = None
    borrowed: Borrowed | None = None
    """The buffer that ``data`` is in, if it is lent: not to be had after :meth:`close`."""
    recoded: "Callable[[Item, Prepared, str], tuple[Item, Prepared | NotDelivered]] | None" = None
    """Where the target may get it in another transfer syntax: makes that of it, and closes this one."""
    pace: Callable[[int], None] | None = None
    """Waits until so many octets may be sent, where there is a limit."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the data set, at the pace of the limit if there is one."""
        return self._whole() if self.pace is None else self._at_pace(self.pace)

    def _whole(self) -> Iterator[bytes]:
        if self.file is None:
            yield bytes(self.data)
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
        """Remove the file, if there is one, and give the buffer back; a second time does nothing."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)
        if self.borrowed is not None:
            self.borrowed.close()


class Supply(Protocol):
    """Instances in order, each checked, or why it cannot be sent. Raises what the store raises when it is away."""

    def __call__(self, items: Sequence[Item]) -> Generator[tuple[Item, Prepared | NotDelivered], None, None]:
        """Yield each item with its data set; to be closed."""


class Objects:
    """Reads the instances of one store."""

    def __init__(self, store: ObjectStore, memory: int, temporary: Path | None = None) -> None:
        self._store = store
        self._memory = memory
        self._temporary = temporary
        self._buffers = Buffers()

    def supply(self, items: Sequence[Item]) -> Generator[tuple[Item, Prepared | NotDelivered], None, None]:
        """Yield each item with its data set; a few are read ahead. See :class:`Supply`."""
        pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead")
        waiting: deque[Future[_Read]] = deque()
        ready: _Read = _Read([])
        try:
            for portion in portions(items):
                waiting.append(pool.submit(self._prepared, portion))
                if len(waiting) > AHEAD:
                    ready = waiting.popleft().result()
                    yield from ready.out()
            while waiting:
                ready = waiting.popleft().result()
                yield from ready.out()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            ready.discard()
            for future in waiting:
                future.add_done_callback(_discard)

    def _prepared(self, portion: Sequence[Item]) -> "_Read":
        read = _Read([])
        for item in portion:
            try:
                read.pairs.append((item, self.prepare(item.instance)))
            except Exception as error:  # noqa: BLE001  # it is raised again behind those that could be read
                read.error = error
                break
        read.pairs.reverse()
        return read

    def prepare(self, instance: ManifestInstance) -> Prepared | NotDelivered:
        """Read and check one instance."""
        try:
            with self._store.open(instance.key) as stream:
                return self._read(instance, stream)
        except ObjectMissing as error:
            return NotDelivered(Trouble.ABSENT, str(error))
        except KeyInvalid as error:
            return _damaged(str(error))
        except NotPart10 as error:
            return _damaged(f"object {instance.key!r} is no DICOM file: {error.reason}")

    def _read(self, instance: ManifestInstance, stream: ObjectStream) -> Prepared | NotDelivered:
        if stream.size <= self._memory:
            head = _announced_head(stream)
            if _SMALL < stream.size - len(head) <= LARGEST:
                return self._read_lent(instance, head, stream)
            part10, data = _parted(head, stream.read())
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

    def _read_lent(self, instance: ManifestInstance, head: bytes, stream: ObjectStream) -> Prepared | NotDelivered:
        with ExitStack() as undo:
            borrowed = self._buffers.lend(stream.size - len(head))
            undo.callback(borrowed.close)
            stream.readinto(borrowed.view)
            part10, data = _parted(head, borrowed.view)
            problem = _problem(instance, part10.meta, hashlib.sha256(data).hexdigest())
            if problem is not None:
                return problem
            if data is not borrowed.view:
                return Prepared(part10.meta, len(data), data)
            undo.pop_all()
            return Prepared(part10.meta, len(data), data, borrowed=borrowed)


def _problem(instance: ManifestInstance, meta: FileMeta, digest: str) -> NotDelivered | None:
    if digest != instance.digest:
        return _damaged(f"the bytes of object {instance.key!r} are not those that were received (SHA-256 differs)")
    if meta.transfer_syntax != instance.transfer_syntax_uid:
        return _damaged(f"the transfer syntax of object {instance.key!r} is not that with which it was received")
    return None


def _damaged(reason: str) -> NotDelivered:
    return NotDelivered(Trouble.CORRUPT, reason)


def _announced_head(stream: ObjectStream) -> bytes:
    """Read as far as the group length (0002,0000) says that the meta information goes, or not so far."""
    first = stream.read(_PREFIX + _GROUP_LENGTH)
    length = int.from_bytes(first[-4:], "little") if first[_PREFIX:-4] == b"\2\0\0\0UL\4\0" else 0
    return first + stream.read(length) if 0 < length <= MAX_META_LENGTH else first


def _parted(head: bytes, rest: bytes | memoryview) -> tuple[Part10, bytes | memoryview]:
    """Return meta information and data set, without a copy of the latter where the group length is right."""
    if rest[:2] != _GROUP_2:
        with suppress(NotPart10):
            part10 = parse_file_meta(head)
            if part10.offset == len(head):
                return part10, rest
    whole = head + bytes(rest)
    part10 = parse_file_meta(whole[:_HEAD])
    return part10, whole[part10.offset :]


def portions(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut a delivery into what is read in one go: small instances together, the first one for itself."""
    start = 0
    while start < len(items):
        end, octets = start + 1, items[start].instance.octets
        while start and end < min(len(items), start + MOST_IN_PORTION):
            octets += items[end].instance.octets
            if octets > PORTION:
                break
            end += 1
        yield items[start:end]
        start = end


@dataclass(slots=True)
class _Read:
    """A portion that has been read: the last of it first, and what kept the one behind from being read."""

    pairs: list[tuple[Item, Prepared | NotDelivered]]
    error: Exception | None = None

    def out(self) -> Iterator[tuple[Item, Prepared | NotDelivered]]:
        """Hand them out in their order, then raise the error."""
        while self.pairs:
            yield self.pairs.pop()
        if self.error is not None:
            raise self.error

    def discard(self) -> None:
        """Close what was not handed out."""
        for _, prepared in self.pairs:
            discard(prepared)


def _discard(future: "Future[_Read]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().discard()


def discard(prepared: Prepared | NotDelivered) -> None:
    """Close what nobody will send."""
    if isinstance(prepared, Prepared):
        prepared.close()
