"""The object store as the services see it: one object per instance, written once, read many times, deleted once.

All calls block and are safe from any number of threads. All of them are bounded in time and raise only the errors of
``errors`` (``OSError`` for the caller's own source file). Neither adapter touches the store before its first call, so a
service starts with the store away. Not to be shared over a fork: open the store in the process that uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object: its size in bytes and when it was last written (aware, UTC; to the second in S3)."""

    key: str
    size: int
    modified: datetime


class ObjectStream(Protocol):
    """One object being read, for one thread. Raises ``StoreUnavailable`` also when fewer than ``size`` bytes come."""

    @property
    def size(self) -> int:
        """Bytes of the whole object."""

    def read(self, n: int = -1) -> bytes:
        """The next ``n`` bytes, fewer only at the end, ``b""`` after it; all that is left when ``n`` is negative."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fills ``buffer`` from the start, less only at the end; returns the bytes written, 0 after the end."""


class Puts(Protocol):
    """Puts that become durable together; for one thread (see ``ObjectStore.together``)."""

    def put_file(self, key: str, path: Path) -> None:
        """Stores the file at ``path`` as ``ObjectStore.put_file`` does, but for when it is durable."""


class ObjectStore(Protocol):
    """Objects under keys (see ``keys``).

    A key stands for its bytes: putting it again means putting the same bytes again, which is harmless at any time and
    mends a damaged copy. An object is visible whole or not at all.
    """

    def put_file(self, key: str, path: Path) -> None:
        """Stores the regular file at ``path``; on return it is as durable as this store can make it.

        The file must not be written to any more, now or later: the directory store keeps a hard link to the same inode.
        Memory does not grow with the file. Raises ``OSError`` if ``path`` cannot be read, ``ObjectTooLarge``.
        """

    def together(self) -> AbstractContextManager[Puts]:
        """For several files at once, where that is cheaper than one by one: they are visible as they are put, and
        durable when the ``with`` is left without an error. Whatever leaves it with an error promises nothing of any.
        """

    def put_bytes(self, key: str, data: bytes) -> None:
        """Stores ``data``, with the promises of ``put_file``; for small documents."""

    def get_bytes(self, key: str, limit: int) -> bytes:
        """The whole object; ``ObjectMissing``, or ``ObjectTooLarge`` (nothing read) beyond ``limit`` bytes."""

    def open(self, key: str) -> AbstractContextManager[ObjectStream]:
        """The object as a stream, for the length of the ``with``; ``ObjectMissing`` on entering."""

    def stat(self, key: str) -> ObjectInfo | None:
        """What is stored, or None when the store surely has no such object; a failure to know is an error."""

    def delete(self, key: str) -> None:
        """Deletes the object; an absent one is fine."""

    def delete_many(self, keys: Iterable[str]) -> None:
        """Deletes them all; all keys are checked first. After an error some may be gone: call it again."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix`` (a string prefix, as in S3), in no promised order, not all at once.

        Objects put or deleted meanwhile may be seen or not. Errors can come at any step.
        """

    def ping(self) -> None:
        """Returns when the store answers and lets us in; else ``StoreUnavailable`` or one of its kinds."""

    def local_path(self, key: str) -> Path | None:
        """The object as a file on this machine, only to be read; None when it is not one, or is absent."""

    def close(self) -> None:
        """Lets connections and locks go. No call may follow or be under way."""
