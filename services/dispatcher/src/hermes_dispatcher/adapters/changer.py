"""Changes data sets in processes beside the dispatcher: a few of them, kept, each with a limit of memory and time.

Blocking: called by the threads that read ahead and that send, never on the event loop. A process that dies or takes too
long is replaced, and what it worked on is not sent.
"""

import contextlib
import hashlib
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final

from hermes_common.previews import Difference
from hermes_dispatcher.core.changing.order import Order
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

log = logging.getLogger(__name__)

TRIES: Final = 2
"""A process may be ended from outside, too: only what ends a fresh one as well is the instance's own."""
_NOT_THE_DATA: Final = (-9, 1)
"""Exit codes that say nothing of the data set: killed for want of memory, and a Python that could not begin."""
_BLOCK: Final = 1024 * 1024
_LONGEST_LINE: Final = 4 * 1024 * 1024


class _EndedError(Exception):
    """The process ended in the middle of its work."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the work. ``memory``: octets of one data set's change; ``held``: of a result in memory, else a file."""

    processes: int
    memory: int
    longest: timedelta
    held: int
    temporary: Path | None


@dataclass(frozen=True, slots=True)
class Result:
    """A changed data set: in memory, or in a file of its own that is the caller's to remove."""

    syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    octets: int
    digest: str
    data: bytes
    file: Path | None
    differences: tuple[Difference, ...]
    changed: int
    same: int


class Changer:
    """Makes changes; for any thread. :meth:`close` ends the processes and whatever they are at."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._places: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(limits.processes):
            self._places.put(None)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def change(
        self, order: Order, octets: int, data: Callable[[], Iterable[bytes]], *, compare: bool = False
    ) -> Result | NotDelivered:
        """Change the data set of so many octets that ``data`` yields, each time it is asked.

        What cannot be changed is never sent, and the reason says why.
        """
        if 3 * octets > self.limits.memory:
            return _unchanged(
                f"changing {octets} octets takes about three times as much memory, and {self.limits.memory} are "
                "allowed (HERMES_DISPATCHER_CHANGE_MEMORY)"
            )
        try:
            place = self._places.get(timeout=self.limits.longest.total_seconds())
        except queue.Empty:
            return NotDelivered(Trouble.INTERNAL, "all processes that change data sets were busy for too long")
        process = place
        try:
            for _ in range(TRIES):
                if process is None or process.poll() is not None:
                    process = self._start()
                result = self._work(process, order, octets, data(), compare=compare)
                if result is not None:
                    return result
            if process is not None and process.returncode in _NOT_THE_DATA:
                return NotDelivered(Trouble.INTERNAL, "what changes data sets is ended from outside, or cannot start")
            return _unchanged("what changes it ended in the middle of it, also when it was tried again")
        finally:
            self._places.put(process)

    def close(self) -> None:
        """End every process."""
        with self._guard:
            self._closed = True
            running = [*self._running]
        for process in running:
            _end(process)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._closed:
                raise RuntimeError("the service has ended")
            process = subprocess.Popen(  # noqa: S603  # our own module under our own interpreter
                [sys.executable, "-m", "hermes_dispatcher.adapters.change_worker", str(self.limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("HERMES_")},
            )
            self._running = {process, *(one for one in self._running if one.poll() is None)}
        return process

    def _work(
        self, process: subprocess.Popen[bytes], order: Order, octets: int, data: Iterable[bytes], *, compare: bool
    ) -> Result | NotDelivered | None:
        """Have a process do it; None if it ended in the middle, by whatever cause."""
        began = time.monotonic()
        watch = threading.Timer(self.limits.longest.total_seconds(), process.kill)
        watch.daemon = True
        watch.start()
        try:
            return self._exchange(process, order, octets, data, compare=compare)
        except (_EndedError, OSError, ValueError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)  # by itself, so that its exit code is not that of our own kill
            _end(process)
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                return NotDelivered(Trouble.INTERNAL, f"a changed data set could not be kept: {error}")
            if time.monotonic() - began >= self.limits.longest.total_seconds():
                return _unchanged(f"changing it took longer than {self.limits.longest.total_seconds():g} s")
            log.warning("a process that changes data sets ended with %s", process.returncode)
            return None
        except BaseException:
            _end(process)
            raise
        finally:
            watch.cancel()

    def _exchange(
        self, process: subprocess.Popen[bytes], order: Order, octets: int, data: Iterable[bytes], *, compare: bool
    ) -> Result | NotDelivered:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the process was started with pipes")
        process.stdin.write(_order_line(order, octets, compare=compare))
        for block in data:
            process.stdin.write(block)
        process.stdin.flush()
        line = process.stdout.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise _EndedError
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            return _unchanged(answer["reason"])
        return self._taken(process.stdout, answer)

    def _taken(self, stream: IO[bytes], answer: dict[str, Any]) -> Result:
        octets, digest, path, held = answer["octets"], hashlib.sha256(), None, b""
        with contextlib.ExitStack() as undo:
            if octets <= self.limits.held:
                held = _read(stream, octets)
                digest.update(held)
            else:
                with tempfile.NamedTemporaryFile(
                    dir=self.limits.temporary, prefix="hermes-", suffix=".part", delete=False
                ) as file:
                    path = Path(file.name)
                    undo.callback(path.unlink, missing_ok=True)
                    left = octets
                    while left:
                        block = _read(stream, min(left, _BLOCK))
                        digest.update(block)
                        file.write(block)
                        left -= len(block)
            undo.pop_all()
        names = ("syntax", "sop_class_uid", "sop_instance_uid", "series_uid", "study_uid", "changed", "same")
        return Result(
            **{name: answer[name] for name in names},
            octets=octets,
            digest=digest.hexdigest(),
            data=held,
            file=path,
            differences=tuple(Difference.model_validate(item) for item in answer["differences"]),
        )


def _read(stream: IO[bytes], octets: int) -> bytes:
    found = stream.read(octets)
    if len(found) != octets:
        raise _EndedError
    return found


def _unchanged(reason: str) -> NotDelivered:
    return NotDelivered(Trouble.UNCHANGEABLE, reason)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _order_line(order: Order, octets: int, *, compare: bool) -> bytes:
    """Return the line before the data of an order."""
    changes = order.changes
    plain = None if changes is None else changes.model_dump(mode="json", exclude={"key"})
    key = "" if changes is None else changes.key.get_secret_value()
    document = {
        "octets": octets, "syntax": order.syntax, "changes": plain, "key": key, "to": order.to, "ratio": order.ratio,
        "most": order.most, "compare": compare,
    }  # fmt: skip
    return json.dumps(document).encode() + b"\n"
