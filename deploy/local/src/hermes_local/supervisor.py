"""Keeps programs running: starts them, learns when they are ready, starts the ones that end again, stops them in
order.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from hermes_common.runtime.service import UNUSABLE
from hermes_local import logs
from hermes_local.core.restart import decide, describe_exit
from hermes_local.errors import LocalError
from hermes_local.process import Process, Program

MOVES = 5
IN_A_HURRY = timedelta(seconds=2)
AFTER_NO_START = timedelta(seconds=5)
SAID_AFTER = timedelta(seconds=10)
LOG_CHECK_SECONDS = 5.0


class State(StrEnum):
    """Where a unit is."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(eq=False, slots=True)
class Unit:
    """A program that is to run. `make` says what to start each time; `move` chooses other ports when its own were
    taken.

    `vital`: without it nothing works, so a first start that fails is an error instead of something to try again. The
    same holds for whatever ends because its environment cannot be used.
    """

    name: str
    make: Callable[[], Program]
    move: Callable[[], None] | None = None
    vital: bool = False
    state: State = State.STARTING
    process: Process | None = None
    reason: str = "starting"
    restarts: int = 0
    was_ready: bool = False
    failure: LocalError | None = None
    task: asyncio.Task[None] | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who wants to know: `say` gets text for the terminal, `changed` is called after each change, `on_exit` after each
    exit.
    """

    say: Callable[[str], None]
    changed: Callable[[], None]
    on_exit: Callable[[str, int], None]


class Supervisor:
    """Runs units. Made and used in the main thread, inside a running event loop."""

    def __init__(self, listener: Listener) -> None:
        self.units: dict[str, Unit] = {}
        self.hurry = asyncio.Event()
        self.broken = asyncio.Event()
        self._listener = listener
        self._rotation = asyncio.create_task(self._rotate_logs())

    async def start(self, units: Iterable[Unit], *, within: timedelta) -> list[Unit]:
        """Starts units at once and waits until each is ready; returns those that are not within this time (they go on
        trying).

        Raises the error of a vital unit that cannot start.
        """
        wanted = list(units)
        for unit in wanted:
            self.units[unit.name] = unit
            unit.task = asyncio.create_task(self._keep(unit), name=unit.name)
            unit.task.add_done_callback(self._task_ended)
        waiting = [asyncio.create_task(unit.settled.wait()) for unit in wanted]
        soon = min(within, SAID_AFTER)
        _, late = await asyncio.wait(waiting, timeout=soon.total_seconds())
        if late:
            self._say_late(wanted)
            await asyncio.wait(late, timeout=(within - soon).total_seconds())
        for task in waiting:
            task.cancel()
        for unit in wanted:
            if unit.failure is not None:
                raise unit.failure
        return [unit for unit in wanted if not unit.was_ready]

    async def stop(self, names: Iterable[str]) -> None:
        """Ends units and waits for them; kills what does not end within its time, or within `IN_A_HURRY` after `hurry`
        is set.
        """
        units = [self.units[name] for name in names if name in self.units]
        for unit in units:
            unit.stopping.set()
            if unit.process is not None:
                unit.process.signal(unit.process.program.stop_signal)
        await asyncio.gather(*(self._await_end(unit) for unit in units))

    async def close(self) -> None:
        """Ends everything at once and the supervisor itself."""
        self.hurry.set()
        await self.stop(list(self.units))
        self._rotation.cancel()
        with suppress(asyncio.CancelledError):
            await self._rotation

    def _say_late(self, units: Iterable[Unit]) -> None:
        reasons = "".join(
            f"\n    {unit.name}: {unit.reason}" for unit in units if not unit.was_ready and unit.failure is None
        )
        self._listener.say(f"still waiting for:{reasons}")

    async def _await_end(self, unit: Unit) -> None:
        if unit.task is None:
            return
        limit = unit.process.program.stop_within if unit.process is not None else IN_A_HURRY
        hurry = asyncio.create_task(self.hurry.wait())
        await asyncio.wait({unit.task, hurry}, timeout=limit.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        if self.hurry.is_set():
            await asyncio.wait({unit.task}, timeout=IN_A_HURRY.total_seconds())
        hurry.cancel()
        if not unit.task.done() and unit.process is not None:
            self._listener.say(f"{unit.name} does not end; killed")
            unit.process.kill()
        await asyncio.wait({unit.task})

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._listener.say(f"the supervision of {task.get_name()} failed: {problem!r}")
            self.broken.set()

    async def _keep(self, unit: Unit) -> None:
        failures = moves = 0
        while not unit.stopping.is_set():
            process = self._spawn(unit)
            if process is None and unit.failure is not None:
                return
            if process is None:
                await _pause(unit.stopping, AFTER_NO_START)
                continue
            ready = asyncio.create_task(self._watch_ready(unit, process))
            code = await exit_of(process)
            ready.cancel()
            if unit.stopping.is_set():
                break
            if not unit.was_ready and unit.move is not None and moves < MOVES and process.lost_its_port():
                moves += 1
                unit.move()
                continue
            if (unit.vital or code == UNUSABLE) and not unit.was_ready:
                unit.failure = process.failure(f"it ended with {describe_exit(code)}")
                unit.settled.set()
                return
            ran_for = timedelta(seconds=time.monotonic() - process.started)
            decision = decide(failures, ran_for, was_ready=unit.state is State.READY)
            failures = decision.failures
            self._report(unit, process, code, decision.after)
            await _pause(unit.stopping, decision.after)
        self._change(unit, State.STOPPED, "stopped")

    def _spawn(self, unit: Unit) -> Process | None:
        try:
            unit.process = Process(unit.make())
        except (LocalError, OSError) as problem:
            if isinstance(problem, LocalError) and not unit.was_ready:
                unit.failure = problem
                unit.settled.set()
            else:
                self._listener.say(f"{unit.name} cannot be started; trying again soon: {problem}")
            return None
        self._change(unit, State.STARTING, "starting")
        return unit.process

    async def _watch_ready(self, unit: Unit, process: Process) -> None:
        while (reason := await asyncio.to_thread(process.why_not_ready)) is not None:
            unit.reason = reason
            patient = time.monotonic() - process.started > 5
            await asyncio.sleep(0.25 if patient else 0.03)
        unit.was_ready = True
        self._change(unit, State.READY, "ready")
        unit.settled.set()

    def _report(self, unit: Unit, process: Process, code: int, after: timedelta) -> None:
        unit.restarts += 1
        lines = "".join(f"\n    {line}" for line in process.last_lines(5))
        when = "at once" if after < timedelta(seconds=1) else f"in {after.total_seconds():.0f} s"
        self._listener.say(
            f"{unit.name} ended with {describe_exit(code)}; starting again {when} (log: {process.program.log}){lines}"
        )
        self._listener.on_exit(unit.name, code)
        self._change(unit, State.RESTARTING, f"ended with {describe_exit(code)}")

    def _change(self, unit: Unit, state: State, reason: str) -> None:
        unit.state, unit.reason = state, reason
        self._listener.changed()

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            for unit in self.units.values():
                if unit.process is not None:
                    await asyncio.to_thread(logs.rotate, unit.process.program.log)


async def exit_of(process: Process) -> int:
    """Waits until the process ends; returns its exit code."""
    if hasattr(os, "pidfd_open"):
        with suppress(ProcessLookupError):
            await _readable(os.pidfd_open(process.pid))
    while (code := process.exit_code()) is None:  # noqa: ASYNC110 - where the system cannot tell us (macOS)
        await asyncio.sleep(0.1)
    return code


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _pause(stop: asyncio.Event, time_out: timedelta) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), time_out.total_seconds())
