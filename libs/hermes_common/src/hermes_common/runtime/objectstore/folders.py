"""Folders below a root as file descriptors, so that no symbolic link is ever followed out of it, and can be fsynced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermes_common.runtime.objectstore.errors import (
    KeyInvalid,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

FOLDER_MODE = 0o750
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_SUCH_PLACE = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG})


def open_folder(name: str, parent: int) -> int:
    """Descriptor of the folder ``name`` in ``parent``; ``NotADirectoryError`` or ``ELOOP`` for anything else."""
    return os.open(name, _FOLDER, dir_fd=parent)


def make_root(root: Path) -> None:
    """Makes the root, durably, if it is not there."""
    try:
        missing = [folder for folder in (root, *root.parents) if not folder.exists()]
        root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for folder in missing:
            with opened_root(folder.parent) as parent:
                os.fsync(parent)
    except OSError as exc:
        raise from_errno(exc, f"the root {root}") from exc


@contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """Descriptor of the root, which may itself be a link; ``StoreUnavailable`` when it is not there."""
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise from_errno(exc, f"the root {root}") from exc
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_chain(root: Path, parts: tuple[str, ...], *, create: bool = False) -> Iterator[list[int]]:
    """Descriptors of the root and of each folder down to the last of ``parts``.

    ``FileNotFoundError`` when one is missing, or (with ``create``) was pruned by another thread in between.
    """
    with opened_root(root) as root_fd:
        chain = [root_fd]
        try:
            for part in parts:
                chain.append(_enter(part, chain[-1], create=create))
            yield chain
        finally:
            for fd in chain[1:]:
                os.close(fd)


def fsync_up(chain: list[int]) -> None:
    """Makes every name in the chain durable, the deepest first.

    Also folders that were there before: another thread may have made them a moment ago and not have fsynced yet.
    """
    for fd in reversed(chain):
        os.fsync(fd)


def prune(chain: list[int], parts: tuple[str, ...]) -> None:
    """Removes the folders ``parts`` as far up as they are empty.

    Safe at any moment: the kernel refuses to remove a folder with anything in it, and whoever is about to put something
    into a removed one gets ``FileNotFoundError`` and makes it again.
    """
    for parent, name in zip(reversed(chain[:-1]), reversed(parts), strict=True):
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError:  # not empty, gone, or in use: each is a reason to leave it
            return


def from_errno(exc: OSError, what: str) -> StoreError:
    """The error of this package for a system error about ``what``."""
    said = f"{what}: {exc.strerror or exc}"
    if exc.errno in _FULL:
        return StoreFull(said)
    if exc.errno in _DENIED:
        return StoreDenied(said)
    return StoreUnavailable(said)


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Raises the errors of this package for system errors in its body."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_SUCH_PLACE:
            raise KeyInvalid(key, "it crosses a name that is not a folder, or is one") from exc
        raise from_errno(exc, f"object {key!r}") from exc


def is_absence(exc: OSError) -> bool:
    """Whether a failure to open or stat a key says that there is no such object."""
    return isinstance(exc, FileNotFoundError) or exc.errno in _NO_SUCH_PLACE


def _enter(name: str, parent: int, *, create: bool) -> int:
    try:
        return open_folder(name, parent)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):  # another thread was faster
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    return open_folder(name, parent)
