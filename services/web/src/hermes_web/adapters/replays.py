"""Replays of rules over the history, in processes beside the web service: bounded, cancellable, with progress."""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import make_url

from hermes_common.rules.replay import Condition
from hermes_web.adapters.replay_source import Window
from hermes_web.adapters.replay_worker import task
from hermes_web.errors import BusyError, DatabaseUnavailableError

log = logging.getLogger(__name__)

AT_ONCE = 2
WAITING = 6
SECONDS = 120
"""For a whole replay."""
MOST_PROCESSES = 4
LONGEST_LINE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """Series that were looked at: how many, and their groups as (codes, count, samples)."""

    series: int
    groups: list[tuple[str, int, list[tuple[float, str]]]]


@dataclass(slots=True)
class Replays:
    """Runs replays, at most :data:`AT_ONCE` of them; whoever stops reading ends one with all its processes."""

    url: str
    processes: int = field(default_factory=lambda: max(1, min(MOST_PROCESSES, os.cpu_count() or 1)))
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _waiting: int = 0

    async def run(self, conditions: Sequence[Condition], window: Window) -> AsyncGenerator[Found, None]:
        """Yield what is found as it is found; raise :class:`BusyError`, :class:`DatabaseUnavailableError`."""
        if self._waiting >= WAITING:
            raise BusyError
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            async with contextlib.aclosing(self._run(tuple(conditions), window)) as founds:
                async for found in founds:
                    yield found
        finally:
            self._places.release()

    async def _run(self, conditions: tuple[Condition, ...], window: Window) -> AsyncGenerator[Found, None]:
        dsn = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        founds: asyncio.Queue[Found | None] = asyncio.Queue(maxsize=8)
        tasks = [
            asyncio.create_task(_work(task(dsn, conditions, window, part, self.processes, SECONDS), founds))
            for part in range(self.processes)
        ]
        try:
            async with asyncio.timeout(SECONDS):
                running = len(tasks)
                while running:
                    found = await founds.get()
                    if found is None:
                        running -= 1
                    else:
                        yield found
                for done in tasks:
                    await done
        except TimeoutError as error:
            raise DatabaseUnavailableError(f"The replay took longer than {SECONDS} s", "Ask for fewer days.") from error
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _work(given: bytes, founds: asyncio.Queue[Found | None]) -> None:
    """Run one process to its end and put None, also if it failed; only when cancelled nobody waits for that."""
    try:
        await _process(given, founds)
    finally:
        current = asyncio.current_task()
        if current is not None and not current.cancelling():
            await founds.put(None)


async def _process(given: bytes, founds: asyncio.Queue[Found | None]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hermes_web.adapters.replay_worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("the process was started with pipes")
    try:
        process.stdin.write(given)
        process.stdin.close()
        async for line in process.stdout:
            said = json.loads(line)
            await founds.put(Found(said["series"], [(codes, n, samples) for codes, n, samples in said["groups"]]))
        reason = (await process.stderr.read(2000)).decode("utf-8", "replace").strip()
        if await process.wait() != 0:
            log.error("a process of a replay ended with %s: %s", process.returncode, reason)
            raise DatabaseUnavailableError("The history could not be read to its end")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
