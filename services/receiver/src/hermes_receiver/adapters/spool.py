"""The spool: instances on the local disk, durable from the answer to the sender until they are in the object store.

    <spool>/incoming/<id>.part          being written; worthless after a crash
    <spool>/ready/<id>.dcm              answered with Success; to be uploaded
    <spool>/quarantine-ready/<id>.dcm   answered with a failure, kept aside; to be uploaded
    <spool>/done/<id>.dcm               uploaded and announced; a copy for the grace period
    <spool>/unclean                     exists while a receiver runs: found at the start, it says that the last one died
    <spool>/workers/<n>/                the spool of worker process n (from 1; worker 0 uses <spool> itself)
    <spool>/lock                        locked (flock) by the receiver that uses the spool

Ids are 32 hexadecimal digits, generated here; nothing that a sender says becomes part of a path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
from enum import StrEnum
from pathlib import Path
from typing import Final

from hermes_common.runtime.clock import new_id
from hermes_receiver.adapters.commitments import adopt_requests
from hermes_receiver.adapters.crashpoints import crash_point
from hermes_receiver.adapters.share import inherited, shared_board
from hermes_receiver.adapters.spoolfile import SpoolFile
from hermes_receiver.core.capacity import SpoolUse

_ENTRY: Final = re.compile(r"([0-9a-f]{32})\.dcm")


class SpoolBusyError(Exception):
    """Another process uses this spool folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another receiver uses the spool {path}: give each receiver a folder of its own (HERMES_SPOOL)"
        )
        self.path = path


class Folder(StrEnum):
    """The folders of finished entries."""

    READY = "ready"
    QUARANTINE = "quarantine-ready"
    DONE = "done"


class Spool:
    """The one user of a spool folder. Safe for use by many threads."""

    def __init__(self, root: Path) -> None:
        share = inherited()
        self._root = root
        self._worker = 0 if share is None else share.number
        self._workers = 1 if share is None else share.workers
        self._board = shared_board()
        self._guard = threading.Lock()
        self._pending = 0
        self._lock_fd = -1
        self._folder_fds: dict[Folder, int] = {}
        self.was_unclean = False
        self.is_pressed = False
        """An instance found no room on the volume since copies were last removed."""

    def open(self) -> None:
        """Lock the folder, remove half-written files, note whether the last user died.

        Raises :class:`SpoolBusyError`, or OSError when the folder cannot be made or written.
        """
        self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock()
        for name in ("incoming", *Folder):
            (self._root / name).mkdir(mode=0o750, exist_ok=True)
        self._folder_fds = {folder: os.open(self._root / folder, os.O_RDONLY | os.O_DIRECTORY) for folder in Folder}
        for leftover in (self._root / "incoming").iterdir():
            leftover.unlink(missing_ok=True)
        marker = self._root / "unclean"
        self.was_unclean = marker.exists()
        if self._worker == 0:
            self._adopt()
        marker.touch(mode=0o640)
        self._sync_root()
        self._count(0, start=sum(self._size(folder, entry) for folder in _PENDING for entry in self.entries(folder)))

    def close(self, *, clean: bool) -> None:
        """Let go of the folder; ``clean`` says that every entry is where it belongs and nothing was in flight."""
        if clean:
            (self._root / "unclean").unlink(missing_ok=True)
            self._sync_root()
        for fd in (*self._folder_fds.values(), self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._folder_fds, self._lock_fd = {}, -1

    def _adopt(self) -> None:
        """Take over what workers have left that are not there any more: there were more of them at the last start."""
        for other in worker_folders(self._root, self._workers):
            left = Spool(other)
            left._workers = left._worker = 1
            left._board = None
            left.open()
            for folder in Folder:
                for entry in left.entries(folder):
                    left.path(folder, entry).rename(self.path(folder, entry))
            adopt_requests(other, self._root)
            for fd in self._folder_fds.values():
                os.fsync(fd)
            self.was_unclean = self.was_unclean or left.was_unclean
            left.close(clean=True)

    def _lock(self) -> None:
        self._lock_fd = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock_fd)
            self._lock_fd = -1
            raise SpoolBusyError(self._root) from exc

    def _sync_root(self) -> None:
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @property
    def pending(self) -> int:
        """Bytes that wait in this spool, those being written included."""
        return self._pending

    @property
    def all_pending(self) -> int:
        """Bytes that wait in the spools of all workers of this receiver."""
        return self._pending if self._board is None else self._board.pending()

    def use(self) -> SpoolUse:
        """Return the bytes that wait (those being written included) in all workers, and those free on the volume."""
        space = os.statvfs(self._root)
        return SpoolUse(pending=self.all_pending, free=space.f_bavail * space.f_frsize)

    def create(self, head_bytes: int) -> SpoolFile:
        """Begin an entry under a new id; raises OSError."""
        entry = new_id().replace("-", "")
        return SpoolFile(entry, self._root / "incoming" / f"{entry}.part", head_bytes, self._count)

    def publish(self, file: SpoolFile, folder: Folder) -> None:
        """Make a sealed file visible in ``folder``; on return it survives a power cut. Raises OSError, with nothing
        visible.
        """
        target = self.path(folder, file.entry)
        file.path.rename(target)
        file.path = target
        crash_point("spool.renamed")
        try:
            os.fsync(self._folder_fds[folder])
        except OSError:
            file.discard()
            raise

    def path(self, folder: Folder, entry: str) -> Path:
        """Return where ``entry`` is in ``folder``; ValueError for what is no id."""
        if not _ENTRY.fullmatch(f"{entry}.dcm"):
            raise ValueError("not the id of a spool entry")
        return self._root / folder / f"{entry}.dcm"

    def entries(self, folder: Folder) -> list[str]:
        """Return the ids in ``folder``, oldest first; files that are not ours are left alone."""
        names = (match[1] for path in (self._root / folder).iterdir() if (match := _ENTRY.fullmatch(path.name)))
        return sorted(names)

    def finish(self, folder: Folder, entry: str) -> None:
        """Move an uploaded entry to ``done``; already moved is fine."""
        path = self.path(folder, entry)
        size = self._size(folder, entry)
        with contextlib.suppress(FileNotFoundError):
            path.rename(self.path(Folder.DONE, entry))
            self._count(-size)

    def revive(self, entry: str) -> None:
        """Move an entry of ``done`` back to ``ready``: the store does not have it."""
        size = self._size(Folder.DONE, entry)
        self.path(Folder.DONE, entry).rename(self.path(Folder.READY, entry))
        os.fsync(self._folder_fds[Folder.READY])
        self._count(size)

    def remove_done(self, entry: str) -> None:
        """Remove a copy from ``done``; its instance is in the store."""
        self.path(Folder.DONE, entry).unlink(missing_ok=True)

    def _count(self, change: int, start: int | None = None) -> None:
        with self._guard:
            self._pending = change + (self._pending if start is None else start)
            if self._board is not None:
                self._board.set_pending(self._worker, self._pending)

    def _size(self, folder: Folder, entry: str) -> int:
        try:
            return self.path(folder, entry).stat().st_size
        except FileNotFoundError:
            return 0


_PENDING: Final = (Folder.READY, Folder.QUARANTINE)


def worker_folder(root: Path, worker: int) -> Path:
    """Return the spool folder of a worker below that of its receiver."""
    return root if worker == 0 else root / "workers" / str(worker)


def worker_folders(root: Path, first: int) -> list[Path]:
    """Return the spool folders that workers from number ``first`` on have left."""
    names = (root / "workers").iterdir() if (root / "workers").is_dir() else ()
    return sorted(path for path in names if path.name.isdigit() and int(path.name) >= first)


def is_no_space(exc: OSError) -> bool:
    """Whether an error says that the volume or a quota is full."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


__all__ = ["Folder", "Spool", "SpoolBusyError", "is_no_space", "worker_folder", "worker_folders"]
