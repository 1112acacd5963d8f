"""The processes of a receiver: started, listened to, started again when they end, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, assert_never

from hermes_receiver.adapters.share import VARIABLE, Role, Share
from hermes_receiver.core.backoff import delay

log = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-m", "hermes_receiver.worker")
_STEADY: Final = timedelta(seconds=10)
"""A worker that lived this long is started again at once; one that did not, after a growing pause."""
_SILENCE: Final = timedelta(seconds=10)
"""After so long without a word from it, a worker does not count as well."""
_END: Final = timedelta(seconds=24)
_NOT_STARTED: Final = 127
_LINE: Final = 64 * 1024


class Worker:
    """One process (see :class:`~hermes_receiver.adapters.share.Role`) and its successors."""

    def __init__(self, share: Share, environment: Mapping[str, str], buried: Callable[[Share, int], None]) -> None:
        """``share`` without its pipes; ``buried`` is told the share and the process id of each process that ended."""
        self._share = share
        self._environment = environment
        self._buried = buried
        self._process: asyncio.subprocess.Process | None = None
        self._heard = 0.0
        self._ready = False
        self._said: str | None = "starting"
        self.restarts = 0

    @property
    def name(self) -> str:
        """What people call it."""
        match self._share.role:
            case Role.RECEIVE:
                return f"worker {self._share.number}"
            case Role.UPLOAD:
                return "uploads"
            case _:
                assert_never(self._share.role)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None else self._process.pid

    def problem(self) -> str | None:
        """Return what is wrong with the worker, in words, or None."""
        if self._process is None:
            return "not running"
        if self._ready and time.monotonic() - self._heard > _SILENCE.total_seconds():
            return f"silent for more than {_SILENCE.total_seconds():.0f} s"
        return self._said

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and has said a moment ago that it receives."""
        return self._process is not None and self._ready and time.monotonic() - self._heard <= _SILENCE.total_seconds()

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the worker running until ``stopping`` is set, then end it in order."""
        attempt = 0
        while not stopping.is_set():
            began = time.monotonic()
            code = await self._live(stopping)
            if stopping.is_set():
                return
            self.restarts += 1
            attempt = 0 if time.monotonic() - began > _STEADY.total_seconds() else attempt + 1
            pause = timedelta(0) if attempt < 2 else delay(attempt - 1, random.random())  # noqa: S311 - jitter
            log.error(
                "%s ended (%s); started again in %.1f s",
                self.name,
                _words(code),
                pause.total_seconds(),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), max(pause.total_seconds(), 0.001))

    async def _live(self, stopping: asyncio.Event) -> int:
        """One process from its start to its end; return its exit code."""
        hear, say = os.pipe()
        lifeline, hold = os.pipe()
        share = replace(self._share, status_fd=say, lifeline_fd=lifeline)
        fds = (say, lifeline, share.board_fd, share.notices_fd, *share.sockets.values())
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                env={**self._environment, VARIABLE: share.encode()},
                pass_fds=[fd for fd in fds if fd >= 0],
                stdin=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            log.error("%s cannot be started: %s", self.name, error)  # the words are enough
            os.close(hear)
            os.close(hold)
            return _NOT_STARTED
        finally:
            os.close(say)
            os.close(lifeline)
        self._process, self._ready, self._said = process, False, "starting"
        listener = asyncio.create_task(self._listen(hear))
        stop = asyncio.create_task(stopping.wait())
        end = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({end, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not end.done():
                await self._end(process)
            return await end
        finally:
            if process.returncode is None:
                process.kill()
            os.close(hold)
            for task in (listener, stop, end):
                task.cancel()
            await asyncio.gather(listener, stop, end, return_exceptions=True)
            self._process = None
            self._buried(self._share, process.pid)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _END.total_seconds())
        except TimeoutError:
            log.error("%s does not end, and is killed", self.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _listen(self, fd: int) -> None:
        """Take what the worker says about itself, a line of JSON each time, until it ends."""
        reader = asyncio.StreamReader(limit=_LINE)
        pipe = os.fdopen(fd, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                report = json.loads(line)
                wrong = {name: word for name, word in report["checks"].items() if word != "ok"}
                self._heard, self._ready = time.monotonic(), bool(report["ready"])
                self._said = "; ".join(f"{name}: {word}" for name, word in wrong.items()) or None
        finally:
            transport.close()


def _words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
