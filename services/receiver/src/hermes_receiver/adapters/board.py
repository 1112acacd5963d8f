"""What the processes of one receiver count together: open associations and bytes that wait in the spools.

A piece of memory that all map. Each worker has a part, of which every cell is written by one process alone: what it
holds and what it has taken in by the worker, what has left its spool by the process that uploads. What a dead worker
held is cleared by whoever starts its successor. A count that decides (is there room for one more?) is taken under a
lock of the kernel, which a dying process lets go of.
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
_CELL: Final = 8
_SERVING, _WRITING, _PUBLISHED, _FINISHED, _PRESSED = range(5)
_HEAD: Final = 5 * _CELL
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
        self._cells = memoryview(self._memory).cast("q")

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
        """Forget the associations of a worker that has died, and what it was writing; what is in its spool waits."""
        self.set_serving(worker, 0)
        self._put(worker, _WRITING, 0)
        at = self._at(worker) + _HEAD
        self._memory[at : at + self._places * _PLACE] = bytes(self._places * _PLACE)

    def open(self, worker: int) -> int:
        """Return how many associations a worker has open."""
        return len(self._held(worker))

    def add_writing(self, worker: int, octets: int) -> None:
        """Count bytes that a worker is writing, or (negative) has dropped."""
        self._put(worker, _WRITING, self._get(worker, _WRITING) + octets)

    def add_published(self, worker: int, octets: int) -> None:
        """Count bytes that wait in the spool of a worker from now on."""
        self._put(worker, _PUBLISHED, self._get(worker, _PUBLISHED) + octets)

    def add_finished(self, worker: int, octets: int) -> None:
        """Count bytes that wait no more in the spool of a worker; negative when they wait again."""
        self._put(worker, _FINISHED, self._get(worker, _FINISHED) + octets)

    def published(self, worker: int) -> int:
        """Return the bytes that have ever begun to wait in the spool of a worker, for :meth:`settle`."""
        return self._get(worker, _PUBLISHED)

    def settle(self, worker: int, published: int) -> None:
        """Nothing waits in the spool of a worker, which had published so much before anybody looked and has published
        nothing since: make good what a process that was killed between doing and counting has left out.
        """
        if self._get(worker, _PUBLISHED) == published:
            self._put(worker, _FINISHED, published)

    def pending_of(self, worker: int) -> int:
        """Return the bytes that wait in the spool of a worker, those being written included."""
        waiting = self._get(worker, _PUBLISHED) - self._get(worker, _FINISHED)
        return max(self._get(worker, _WRITING), 0) + max(waiting, 0)

    def pending(self) -> int:
        """Return the bytes that wait in the spools of all workers."""
        return sum(map(self.pending_of, range(self._workers)))

    def press(self, worker: int) -> None:
        """Say that the volume had no room for an instance."""
        self._put(worker, _PRESSED, 1)

    def take_pressure(self, worker: int) -> bool:
        """Return whether it had no room since this was last asked."""
        pressed = self._get(worker, _PRESSED) != 0
        if pressed:
            self._put(worker, _PRESSED, 0)
        return pressed

    def set_serving(self, worker: int, connections: int) -> None:
        """Say how many connections a worker serves."""
        self._put(worker, _SERVING, connections)

    def ahead(self, worker: int) -> int:
        """Return how many connections more a worker serves than the one that serves fewest."""
        counts = [self._get(number, _SERVING) for number in range(self._workers)]
        return counts[worker] - min(counts)

    def _at(self, worker: int) -> int:
        return worker * (_HEAD + self._places * _PLACE)

    def _get(self, worker: int, cell: int) -> int:
        return self._cells[self._at(worker) // _CELL + cell]

    def _put(self, worker: int, cell: int, value: int) -> None:
        self._cells[self._at(worker) // _CELL + cell] = value

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
