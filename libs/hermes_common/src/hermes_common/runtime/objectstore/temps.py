"""Temporary names of the directory store: ``~tmp/<process>/<name>`` below its root.

``~`` is in no key, so nothing here can be an object. Each process (more exactly each open store) holds a lock on its
own folder; the kernel drops it when the process dies, however it dies, and the next store to start removes the folder.
So what a living process is writing is never removed, and what a dead one left always is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from hermes_common.runtime.objectstore.folders import FOLDER_MODE, open_folder, opened_root

TEMPS = "~tmp"


class Temps:
    """Temporary names for one open store; safe from any thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._guard = threading.Lock()
        self._own: tuple[str, int] | None = None
        self._retired: list[int] = []

    @contextmanager
    def name(self) -> Iterator[tuple[int, str]]:
        """A folder's descriptor and a fresh name in it; what is left under the name afterwards is removed."""
        folder = self._folder()
        name = uuid4().hex
        try:
            yield folder, name
        finally:
            with suppress(FileNotFoundError):  # it was moved to its place
                os.unlink(name, dir_fd=folder)

    def close(self) -> None:
        """Removes the own folder and drops its lock."""
        with self._guard:
            if self._own is None:
                return
            name, fd = self._own
            self._own = None
            with suppress(OSError):  # if it stays, the next start removes it
                self._root.joinpath(TEMPS, name).rmdir()
            for each in (fd, *self._retired):
                os.close(each)
            self._retired.clear()

    def _folder(self) -> int:
        with self._guard, opened_root(self._root) as root:
            if self._own is None:
                self._own = _claim(root)
                _sweep(root)
            elif not _is_in_place(root, *self._own):  # the root was replaced, say restored from a backup
                self._retired.append(self._own[1])  # another thread may be using it
                self._own = _claim(root)
            return self._own[1]


def _claim(root: int) -> tuple[str, int]:
    """Makes and locks a folder; one that a sweeper takes for a dead one's in between is given up for another."""
    _mkdir(TEMPS, root)
    while True:
        name = uuid4().hex
        _mkdir(f"{TEMPS}/{name}", root)
        try:
            fd = open_folder(f"{TEMPS}/{name}", root)
        except FileNotFoundError:
            continue
        if _lock(fd) and _is_in_place(root, name, fd):
            return name, fd
        os.close(fd)


def _sweep(root: int) -> None:
    """Removes the folders of the dead."""
    temps = open_folder(TEMPS, root)
    try:
        with os.scandir(temps) as found:
            names = [entry.name for entry in found]
        for name in names:
            with suppress(OSError):  # swept by another, or nothing of ours: no reason not to store
                _remove_if_dead(name, temps)
    finally:
        os.close(temps)


def _remove_if_dead(name: str, temps: int) -> None:
    fd = open_folder(name, temps)
    try:
        if _lock(fd):
            with os.scandir(fd) as found:
                leftovers = [entry.name for entry in found]
            for leftover in leftovers:
                os.unlink(leftover, dir_fd=fd)
            os.rmdir(name, dir_fd=temps)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def _is_in_place(root: int, name: str, fd: int) -> bool:
    try:
        there = os.stat(f"{TEMPS}/{name}", dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _mkdir(path: str, root: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, FOLDER_MODE, dir_fd=root)
