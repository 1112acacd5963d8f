"""The object store as a folder, for a site of one machine: the same keys, as paths below one root.

A put hard-links the source where it can, and copies where it cannot; it becomes visible by one rename, after the bytes
are fsynced, and returns after every folder up to the root is. With a hard link **the spool's file and the object are
one inode**: whoever writes to either afterwards, even through an old descriptor, changes both. Replacing or deleting
one of the names leaves the other whole.

Time: a local disk bounds every call. A hard-mounted network file system that hangs would hold the calling thread in the
kernel, where no limit reaches it; mount it ``soft`` or use S3.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat as stat_bits
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from hermes_common.runtime.objectstore.errors import ObjectMissing, ObjectTooLarge, StoreError, StoreUnavailable
from hermes_common.runtime.objectstore.folders import (
    fsync_up,
    is_absence,
    make_root,
    opened_chain,
    prune,
    translated,
)
from hermes_common.runtime.objectstore.interface import ObjectInfo, ObjectStream, Puts
from hermes_common.runtime.objectstore.keys import is_segment, prefix_folder, segments
from hermes_common.runtime.objectstore.streams import CountedStream
from hermes_common.runtime.objectstore.temps import Temps

_FILE_MODE = 0o640
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not block us
_COPY_BLOCK = 1024 * 1024
_RACES = 100
_HELD = 8  # with three descriptors each, for every thread that puts: a process may have no more than 1024
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})


class DirectoryStore:
    """An ``ObjectStore`` below ``root`` (absolute), which is made at the first call, and never again after that:

    a root that goes away later, such as a disk that is no longer mounted, is ``StoreUnavailable``, not an empty store.
    Several processes may use one root at the same time.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_absolute():
            raise ValueError(f"the root of a directory store must be absolute, not {root}")
        self._root = root
        self._temps = Temps(root)
        self._prepared = False
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"DirectoryStore({str(self._root)!r})"

    def put_file(self, key: str, path: Path) -> None:
        with self.together() as puts:
            puts.put_file(key, path)

    @contextmanager
    def together(self) -> Iterator[Puts]:
        with _Together(self._root, self._temps, self._prepare) as puts:
            yield puts
            puts.sync()

    def put_bytes(self, key: str, data: bytes) -> None:
        with _Together(self._root, self._temps, self._prepare) as puts:
            puts.put(key, segments(key), lambda folder, name: _write(data, folder, name))
            puts.sync()

    def get_bytes(self, key: str, limit: int) -> bytes:
        with self.open(key) as stream:
            if stream.size > limit:
                raise ObjectTooLarge(key, stream.size, limit)
            return stream.read()

    @contextmanager
    def open(self, key: str) -> Iterator[ObjectStream]:
        parts = segments(key)
        self._prepare()
        with translated(key):
            try:
                with opened_chain(self._root, parts[:-1]) as chain:
                    fd = os.open(parts[-1], _READ, dir_fd=chain[-1])
            except OSError as exc:
                if is_absence(exc):
                    raise ObjectMissing(key) from exc
                raise

        def some(n: int) -> bytes:
            with translated(key):
                return os.read(fd, n)

        def into(view: memoryview) -> int:
            with translated(key):
                return os.readv(fd, [view])

        try:
            found = os.fstat(fd)
            if not stat_bits.S_ISREG(found.st_mode):
                raise ObjectMissing(key)
            yield CountedStream(key, found.st_size, some, into)
        finally:
            os.close(fd)

    def stat(self, key: str) -> ObjectInfo | None:
        parts = segments(key)
        self._prepare()
        with translated(key):
            try:
                with opened_chain(self._root, parts[:-1]) as chain:
                    found = os.stat(parts[-1], dir_fd=chain[-1], follow_symlinks=False)
            except OSError as exc:
                if is_absence(exc):
                    return None
                raise
        return _info(key, found) if stat_bits.S_ISREG(found.st_mode) else None

    def delete(self, key: str) -> None:
        self.delete_many([key])

    def delete_many(self, keys: Iterable[str]) -> None:
        doomed = sorted(segments(key) for key in keys)
        self._prepare()
        for folder, group in groupby(doomed, key=lambda parts: parts[:-1]):
            self._delete(folder, [parts[-1] for parts in group])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = prefix_folder(prefix)
        return self._walk(folder, prefix)

    def ping(self) -> None:
        self._prepare()
        with translated("~ping"), self._temps.name() as (folder, name):
            os.close(os.open(name, _NEW, _FILE_MODE, dir_fd=folder))

    def local_path(self, key: str) -> Path | None:
        return None if self.stat(key) is None else self._root.joinpath(*segments(key))

    def close(self) -> None:
        self._temps.close()

    def _prepare(self) -> None:
        if self._prepared:
            return
        with self._guard:
            make_root(self._root)
            self._prepared = True

    def _delete(self, folder: tuple[str, ...], names: Iterable[str]) -> None:
        with translated("/".join(folder)):
            try:
                with opened_chain(self._root, folder) as chain:
                    for name in names:
                        _unlink(name, chain[-1])
                    os.fsync(chain[-1])
                    prune(chain, folder)
            except OSError as exc:
                if not is_absence(exc):
                    raise

    def _walk(self, folder: tuple[str, ...], prefix: str) -> Iterator[ObjectInfo]:
        self._prepare()
        pending = [folder]
        while pending:
            parts = pending.pop()
            for name, found in self._entries(parts):
                key = "/".join((*parts, name))
                if stat_bits.S_ISDIR(found.st_mode):
                    if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                        pending.append((*parts, name))
                elif key.startswith(prefix):
                    yield _info(key, found)

    def _entries(self, parts: tuple[str, ...]) -> Iterable[tuple[str, os.stat_result]]:
        """Regular files and folders in one folder; none when it is gone. Holds no descriptor while its caller waits."""
        entries = []
        with translated("/".join(parts)):
            try:
                with opened_chain(self._root, parts) as chain, os.scandir(chain[-1]) as found:
                    for entry in found:
                        status = _stat_entry(entry) if is_segment(entry.name) else None
                        if status is not None:
                            entries.append((entry.name, status))
            except OSError as exc:
                if not is_absence(exc):
                    raise
        return entries


class _Together:
    """Puts whose folders are fsynced once, by :meth:`sync`. Holds the folders meanwhile, at most :data:`_HELD` of the
    last level; those before are fsynced when one more is needed. For one thread.
    """

    def __init__(self, root: Path, temps: Temps, prepare: Callable[[], None]) -> None:
        self._root = root
        self._temps = temps
        self._prepare = prepare
        self._held = ExitStack()
        self._chains: dict[tuple[str, ...], list[int]] = {}
        self._failure: StoreError | None = None

    def __enter__(self) -> _Together:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self._chains.clear()

    def put_file(self, key: str, path: Path) -> None:
        parts = segments(key)
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not stat_bits.S_ISREG(os.fstat(source).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            self.put(key, parts, lambda folder, name: _link_or_copy(path, source, folder, name))
        finally:
            os.close(source)

    def put(self, key: str, parts: tuple[str, ...], fill: Callable[[int, str], None]) -> None:
        """Makes the object visible; ``fill`` writes it, fsynced, under the name and in the folder that it is given."""
        self._prepare()
        with translated(key), self._temps.name() as (temps, temp):
            fill(temps, temp)
            for _ in range(_RACES):
                try:
                    os.replace(temp, parts[-1], src_dir_fd=temps, dst_dir_fd=self._folder(parts[:-1]))
                except FileNotFoundError:
                    self._chains.pop(parts[:-1], None)  # the folder was pruned between being opened and being used
                else:
                    return
        self._failure = StoreUnavailable(f"object {key!r}: its folder, or the temporary file, keeps disappearing")
        raise self._failure  # what was put into that folder before is not known to be durable

    def sync(self) -> None:
        """Makes every name that was put durable, the deepest first.

        Also folders that were there before: another thread may have made them a moment ago and not have fsynced yet.
        """
        if self._failure is not None:
            raise self._failure  # a second fsync would say nothing of what the first one lost
        try:
            for parts, chain in self._chains.items():
                with translated("/".join(parts)):
                    fsync_up(chain)
        except StoreError as exc:
            self._failure = exc
            raise
        self._chains.clear()
        self._held.close()

    def _folder(self, parts: tuple[str, ...]) -> int:
        if parts not in self._chains:
            if len(self._chains) >= _HELD:
                self.sync()
            self._chains[parts] = self._held.enter_context(opened_chain(self._root, parts, create=True))
        return self._chains[parts][-1]


def _stat_entry(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Status of a regular file or a folder; None for anything else, and for what was deleted since it was listed."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat_bits.S_ISREG(status.st_mode) or stat_bits.S_ISDIR(status.st_mode) else None


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _link_or_copy(path: Path, source: int, folder: int, name: str) -> None:
    os.fsync(source)  # before the link, which would make it a matter of the file system's journal
    try:
        os.link(path, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
    else:
        if os.path.samestat(os.fstat(source), os.stat(name, dir_fd=folder, follow_symlinks=False)):
            return
        os.unlink(name, dir_fd=folder)  # ``path`` is a symbolic link, or another file by now
    with os.fdopen(os.open(name, _NEW, _FILE_MODE, dir_fd=folder), "wb") as target:
        with os.fdopen(os.dup(source), "rb") as original:
            shutil.copyfileobj(original, target, _COPY_BLOCK)
        target.flush()
        os.fsync(target.fileno())


def _write(data: bytes, folder: int, name: str) -> None:
    with os.fdopen(os.open(name, _NEW, _FILE_MODE, dir_fd=folder), "wb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
