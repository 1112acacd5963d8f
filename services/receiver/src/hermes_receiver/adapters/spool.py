"""The spool: instances on the local disk, durable from the answer to the sender until they are in the object store.

    <spool>/incoming/<id>.part          being written; worthless after a crash
    <spool>/ready/<id>.dcm              answered with Success; to be uploaded
    <spool>/quarantine-ready/<id>.dcm   answered with a failure, kept aside; to be uploaded
    <spool>/done/<id>.dcm               uploaded and announced; a copy for the grace period
    <spool>/unclean                     exists while a receiver runs: found at the start, it says that the last one died
    <spool>/unchecked                   exists until the copies of an unclean spool have been checked against the store
    <spool>/workers/<n>/                the spool of worker process n (from 1; worker 0 uses <spool> itself)
    <spool>/lock                        locked (flock) by the process that receives into the spool

Ids are 32 hexadecimal digits, generated here; nothing that a sender says becomes part of a path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from hermes_common.runtime.clock import new_id
from hermes_common.runtime.crashpoints import crash_point
from hermes_receiver.adapters.commitments import adopt_requests
from hermes_receiver.adapters.spoolfile import SpoolFile
from hermes_receiver.adapters.tally import Tally
from hermes_receiver.core.capacity import SpoolUse

_MARK: Final = "unclean"
_UNCHECKED: Final = "unchecked"
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


PENDING: Final = (Folder.READY, Folder.QUARANTINE)
"""The folders whose entries wait to be uploaded."""


class Spool:
    """A spool folder. Safe for use by many threads.

    One process :meth:`open` it and receives into it; the same one, or one that has :meth:`attach` ed itself to it,
    takes entries out.
    """

    def __init__(self, root: Path, *, worker: int = 0, workers: int = 1, tally: Tally | None = None) -> None:
        """``root`` is the folder of worker ``worker`` out of ``workers``."""
        self._root = root
        self._incoming = root / "incoming"
        self._folders = {folder: root / folder for folder in Folder}
        self._worker = worker
        self._workers = workers
        self._tally = tally or Tally()
        self._counted = tally is not None
        self._lock_fd = -1
        self._folder_fds: dict[Folder, int] = {}
        self.was_unclean = False

    def open(self) -> None:
        """Lock the folder, remove half-written files, note whether the last user died.

        Raises :class:`SpoolBusyError`, or OSError when the folder cannot be made or written.
        """
        self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock()
        self.attach()
        for leftover in self._incoming.iterdir():
            leftover.unlink(missing_ok=True)
        self.was_unclean = is_unclean(self._root)
        if self.was_unclean:
            (self._root / _UNCHECKED).touch(mode=0o640)
        if not self._counted:
            self._tally.publish(self.waiting())
        if self._worker == 0:
            self._adopt()
        (self._root / _MARK).touch(mode=0o640)
        self._sync_root()

    def checked(self) -> None:
        """Note that every copy is in the store; until then a stop in order leaves the spool unclean. Raises OSError."""
        (self._root / _UNCHECKED).unlink(missing_ok=True)
        self._sync_root()

    def attach(self) -> None:
        """Make the folders where they are missing, and hold them. Raises OSError."""
        for path in (self._incoming, *self._folders.values()):
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._folder_fds = {
            folder: os.open(path, os.O_RDONLY | os.O_DIRECTORY) for folder, path in self._folders.items()
        }

    def detach(self) -> None:
        """Let go of the folders."""
        for fd in self._folder_fds.values():
            os.close(fd)
        self._folder_fds = {}

    def close(self, *, clean: bool) -> None:
        """Let go of the folder; ``clean`` says that every entry is where it belongs and nothing was in flight."""
        if clean:
            (self._root / _MARK).unlink(missing_ok=True)
            self._sync_root()
        self.detach()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        self._lock_fd = -1

    def _adopt(self) -> None:
        """Take over what workers have left that are not there any more: there were more of them at the last start."""
        for other in worker_folders(self._root, self._workers):
            left = Spool(other, worker=1)  # not the first, so that it adopts nothing itself
            left.open()
            if left.was_unclean:
                self.was_unclean = True
                (self._root / _UNCHECKED).touch(mode=0o640)
                self._sync_root()
            self._tally.publish(left.waiting())
            for folder in Folder:
                for entry in left.entries(folder):
                    left.path(folder, entry).rename(self.path(folder, entry))
            adopt_requests(other, self._root)
            for fd in self._folder_fds.values():
                os.fsync(fd)
            left.checked()  # what there was to check is here now
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

    def waiting(self) -> int:
        """Return the bytes of the entries that wait, looked up in the folders."""
        return sum(self._size(folder, entry) for folder in PENDING for entry in self.entries(folder))

    @property
    def pending(self) -> int:
        """Bytes that wait in this spool, those being written included."""
        return self._tally.pending

    @property
    def all_pending(self) -> int:
        """Bytes that wait in the spools of all workers of this receiver."""
        return self._tally.all_pending

    def press(self) -> None:
        """Say that the volume had no room for an instance."""
        self._tally.press()

    def take_pressure(self) -> bool:
        """Return whether it had no room since this was last asked."""
        return self._tally.take_pressure()

    def use(self) -> SpoolUse:
        """Return the bytes that wait (those being written included) in all workers, and those free on the volume."""
        space = os.statvfs(self._root)
        return SpoolUse(pending=self.all_pending, free=space.f_bavail * space.f_frsize)

    def create(self, head_bytes: int) -> SpoolFile:
        """Begin an entry under a new id; raises OSError."""
        entry = new_id().replace("-", "")
        return SpoolFile(entry, self._incoming / f"{entry}.part", head_bytes, self._tally.write)

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
        self._tally.publish(file.size)
        self._tally.write(-file.size)

    def path(self, folder: Folder, entry: str) -> Path:
        """Return where ``entry`` is in ``folder``; ValueError for what is no id."""
        if not _ENTRY.fullmatch(f"{entry}.dcm"):
            raise ValueError("not the id of a spool entry")
        return self._folders[folder] / f"{entry}.dcm"

    def entries(self, folder: Folder) -> list[str]:
        """Return the ids in ``folder``, oldest first; files that are not ours are left alone."""
        return sorted(entry for entry, _ in entries_of(self._folders[folder]))

    def finish(self, folder: Folder, entry: str) -> None:
        """Move an uploaded entry to ``done``; already moved is fine."""
        path = self.path(folder, entry)
        size = self._size(folder, entry)
        with contextlib.suppress(FileNotFoundError):
            path.rename(self.path(Folder.DONE, entry))
            self._tally.finish(size)

    def revive(self, entry: str) -> None:
        """Move an entry of ``done`` back to ``ready``: the store does not have it."""
        size = self._size(Folder.DONE, entry)
        self.path(Folder.DONE, entry).rename(self.path(Folder.READY, entry))
        os.fsync(self._folder_fds[Folder.READY])
        self._tally.finish(-size)

    def remove_done(self, entry: str) -> None:
        """Remove a copy from ``done``; its instance is in the store."""
        self.path(Folder.DONE, entry).unlink(missing_ok=True)

    def _size(self, folder: Folder, entry: str) -> int:
        try:
            return self.path(folder, entry).stat().st_size
        except FileNotFoundError:
            return 0


def is_unclean(root: Path) -> bool:
    """Whether the last receiver on the spool ``root`` did not stop in order or is running, or one before it left copies
    that nobody has checked yet.
    """
    return (root / _MARK).exists() or (root / _UNCHECKED).exists()


def worker_folder(root: Path, worker: int) -> Path:
    """Return the spool folder of a worker below that of its receiver."""
    return root if worker == 0 else root / "workers" / str(worker)


def worker_folders(root: Path, first: int) -> list[Path]:
    """Return the spool folders that workers from number ``first`` on have left."""
    names = (root / "workers").iterdir() if (root / "workers").is_dir() else ()
    return sorted(path for path in names if path.name.isdigit() and int(path.name) >= first)


def ready_folders(folder: Path, worker: int = 0, workers: int = 1) -> list[Path]:
    """Return where the entries answered with Success wait, of all workers of the receiver whose worker ``worker`` has
    the spool ``folder``.
    """
    root = folder if worker == 0 else folder.parent.parent
    return [worker_folder(root, number) / Folder.READY for number in range(workers)]


def entries_of(folder: Path) -> list[tuple[str, Path]]:
    """Return id and path of the entries in a folder of a spool, in no order; none where there is no such folder."""
    try:
        return [(match[1], path) for path in folder.iterdir() if (match := _ENTRY.fullmatch(path.name))]
    except FileNotFoundError:
        return []


def is_no_space(exc: OSError) -> bool:
    """Whether an error says that the volume or a quota is full."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)
