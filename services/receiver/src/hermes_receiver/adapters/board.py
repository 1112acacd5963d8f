"""What the worker processes of one receiver count together: open associations and bytes that wait in the spools.

A piece of memory that all map. Each worker writes its own part alone; what a dead worker held is cleared by whoever
starts its successor. A count that decides (is there room for one more?) is taken under a lock of the kernel, which a
dying process lets go of.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mmap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PLACE: Final = 16
_HEAD: Final = 16
_EMPTY: Final = bytes(_PLACE)
_PATIENCE: Final = 2.0
"""Seconds after which a lock that another process does not let go of counts as no room."""


@dataclass(frozen=True, slots=True)
class Full:
    """There is no room: ``in_all`` associations are open, ``of_host`` of them from the address that asks."""

    in_all: int
    of_host: int


class Board:
    """The shared counts of ``workers`` processes with ``places`` associations each. Safe for use by many threads.

    ``fd`` is a file of :meth:`size` bytes that every worker has inherited, or -1 for a receiver of one process.
    """

    def __init__(self, fd: int, workers: int, places: int) -> None:
        self._fd = fd
        self._workers = workers
        self._places = places
        self._guard = threading.Lock()
        self._memory = mmap.mmap(fd, self.size(workers, places))

    @staticmethod
    def size(workers: int, places: int) -> int:
        """Return the bytes of a board."""
        return workers * (_HEAD + places * _PLACE)

    def claim(self, worker: int, host: str, *, in_all: int, of_host: int) -> int | Full:
        """Count an association from ``host`` in and return its place, or say that one of the limits is reached."""
        mark = _mark(host)
        with self._locked() as locked:
            found = [self._held(number) for number in range(self._workers)]
            taken = [place for held in found for place in held]
            if not locked or len(taken) >= in_all or taken.count(mark) >= of_host:
                return Full(len(taken), taken.count(mark))
            for place in range(self._places):
                at = self._at(worker) + _HEAD + place * _PLACE
                if self._memory[at : at + _PLACE] == _EMPTY:
                    self._memory[at : at + _PLACE] = mark
                    return place
            return Full(len(taken), taken.count(mark))

    def leave(self, worker: int, place: int) -> None:
        """Count an association out."""
        at = self._at(worker) + _HEAD + place * _PLACE
        self._memory[at : at + _PLACE] = _EMPTY

    def clear(self, worker: int) -> None:
        """Forget the associations of a worker that has died; the bytes in its spool still wait."""
        self.set_serving(worker, 0)
        at = self._at(worker) + _HEAD
        self._memory[at : at + self._places * _PLACE] = bytes(self._places * _PLACE)

    def open(self, worker: int) -> int:
        """Return how many associations a worker has open."""
        return len(self._held(worker))

    def set_pending(self, worker: int, octets: int) -> None:
        """Say how many bytes wait in the spool of a worker."""
        at = self._at(worker)
        self._memory[at : at + 8] = octets.to_bytes(8, "little", signed=True)

    def pending(self) -> int:
        """Return the bytes that wait in the spools of all workers."""
        starts = (self._at(number) for number in range(self._workers))
        return sum(int.from_bytes(self._memory[at : at + 8], "little", signed=True) for at in starts)

    def set_serving(self, worker: int, connections: int) -> None:
        """Say how many connections a worker serves."""
        at = self._at(worker) + 8
        self._memory[at : at + 8] = connections.to_bytes(8, "little")

    def ahead(self, worker: int) -> int:
        """Return how many connections more a worker serves than the one that serves fewest."""
        counts = [
            int.from_bytes(self._memory[at + 8 : at + 16], "little") for at in map(self._at, range(self._workers))
        ]
        return counts[worker] - min(counts)

    def _at(self, worker: int) -> int:
        return worker * (_HEAD + self._places * _PLACE)

    def _held(self, worker: int) -> list[bytes]:
        at = self._at(worker) + _HEAD
        raw = self._memory[at : at + self._places * _PLACE]
        places = (raw[start : start + _PLACE] for start in range(0, len(raw), _PLACE))
        return [place for place in places if place != _EMPTY]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock, or say within a bounded time that it cannot be had."""
        with self._guard:
            held = self._fd < 0 or self._lock()
            try:
                yield held
            finally:
                if held and self._fd >= 0:
                    fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= end:
                    return False
                time.sleep(0.001)
            else:
                return True


def _mark(host: str) -> bytes:
    return hashlib.blake2b(host.encode(), digest_size=_PLACE).digest()
