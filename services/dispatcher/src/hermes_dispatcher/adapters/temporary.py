"""The folder of this process's temporary files. What a process leaves behind that was killed, the next one removes:
the lock in the folder is held for as long as its process lives, so a folder whose lock can be had is nobody's.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PREFIX: Final = "hermes-dispatcher-"
LOCK: Final = "lock"

_TRIES: Final = 10


class TemporaryFolder:
    """A folder of our own in ``parent`` (the system's for temporary files if None). OSError if there can be none."""

    def __init__(self, parent: Path | None) -> None:
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self.path, self._lock = self._made()

    def sweep(self) -> int:
        """Remove the folders of processes that are gone; return how many. One that cannot be removed stays."""
        count = 0
        for folder in self._parent.glob(f"{PREFIX}*"):
            if folder == self.path or folder.is_symlink():
                continue
            lock = _locked(folder, create=False)
            if lock is None:  # in use, about to be, or not ours
                continue
            try:
                _remove(folder)
                count += 1
            except OSError as error:
                log.warning("temporary files of a process that is gone cannot be removed: %s", error)
            finally:
                os.close(lock)
        return count

    def close(self) -> None:
        """Remove the folder with what is in it."""
        with contextlib.suppress(OSError):
            _remove(self.path)
        os.close(self._lock)

    def _made(self) -> tuple[Path, int]:
        for _ in range(_TRIES):
            path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            lock = _locked(path, create=True)
            if lock is not None:
                return path, lock
        raise OSError(f"no folder for temporary files could be made in {self._parent}")


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: whoever is killed in the middle of it leaves one that is still swept."""
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder)


def _locked(folder: Path, *, create: bool) -> int | None:
    """Return a descriptor that holds the lock of a folder; None if it cannot be had."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        fd = os.open(folder / LOCK, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), (folder / LOCK).stat()):
                return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None
