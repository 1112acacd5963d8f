"""Processes beside the dispatcher that are given what strangers sent: a few of them, kept, each with a limit of time.

Blocking: called by threads, never on the event loop. A process that dies or takes too long is replaced.
"""

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import IO, Final, TypeVar

log = logging.getLogger(__name__)

TRIES: Final = 2
"""A process may be ended from outside, too: only what ends a fresh one as well is the data's own."""
_NOT_THE_DATA: Final = (-9, 1)
"""Exit codes that say nothing of the data: killed for want of memory, and a Python that could not begin."""

T = TypeVar("T")


class EndedError(Exception):
    """The process ended in the middle of its work."""


class Unfinished(Enum):
    """Why a piece of work has no result."""

    BUSY = "busy"
    """All processes were at something else for too long."""
    TOO_LONG = "too_long"
    """It was ended because it took longer than allowed."""
    ENDED = "ended"
    """What did it ended in the middle of it, also when it was tried again."""
    FROM_OUTSIDE = "from_outside"
    """The processes are ended from outside, or cannot start."""


class Beside:
    """Runs a module of ours in processes of their own; for any thread. :meth:`close` ends whatever they are at."""

    def __init__(self, module: str, argument: str, processes: int, longest: float) -> None:
        self._command = [sys.executable, "-m", module, argument]
        self.longest = longest
        """Seconds that one piece of work may take, and that it waits for a process."""
        self._places: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(processes):
            self._places.put(None)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def run(self, exchange: Callable[[IO[bytes], IO[bytes]], T]) -> T | Unfinished:
        """Have a process do one piece of work; ``exchange`` writes to its input and reads its output, once a try.

        ``exchange`` raises :class:`EndedError` where the output ends early. Raises OSError of what it keeps elsewhere.
        """
        try:
            process = self._places.get(timeout=self.longest)
        except queue.Empty:
            return Unfinished.BUSY
        try:
            for _ in range(TRIES):
                if process is None or process.poll() is not None:
                    process = self._start()
                result = self._work(process, exchange)
                if result is not Unfinished.ENDED:
                    return result
            if process is not None and process.returncode in _NOT_THE_DATA:
                return Unfinished.FROM_OUTSIDE
            return Unfinished.ENDED
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
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("HERMES_")},
            )
            self._running = {process, *(one for one in self._running if one.poll() is None)}
        return process

    def _work(self, process: subprocess.Popen[bytes], exchange: Callable[[IO[bytes], IO[bytes]], T]) -> T | Unfinished:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the process was started with pipes")
        began = time.monotonic()
        watch = threading.Timer(self.longest, process.kill)
        watch.daemon = True
        watch.start()
        try:
            return exchange(process.stdin, process.stdout)
        except (EndedError, OSError, ValueError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)  # by itself, so that its exit code is not that of our own kill
            _end(process)
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                raise
            if time.monotonic() - began >= self.longest:
                return Unfinished.TOO_LONG
            log.warning("a process beside the dispatcher ended with %s", process.returncode)
            return Unfinished.ENDED
        except BaseException:
            _end(process)
            raise
        finally:
            watch.cancel()


def read(stream: IO[bytes], octets: int) -> bytes:
    """Return so many octets; raise :class:`EndedError` if there are fewer."""
    found = stream.read(octets)
    if len(found) != octets:
        raise EndedError
    return found


def read_line(stream: IO[bytes], longest: int) -> bytes:
    """Return one line; raise :class:`EndedError` if it does not end."""
    line = stream.readline(longest)
    if not line.endswith(b"\n"):
        raise EndedError
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
