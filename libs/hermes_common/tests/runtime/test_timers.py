"""Timers when a clock is wrong: nothing waits for longer than it was to wait."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from hermes_common import subjects
from hermes_common.runtime import bus as bus_module
from hermes_common.runtime import timers
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now

UID = "1.2.3"
TIMER, DUE = subjects.series_timer(UID), subjects.series_due(UID)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await found():
            await asyncio.sleep(0.1)


def test_only_what_was_armed_in_the_future_is_armed_anew_and_for_as_long_as_it_was_to_wait() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert timers.anew(at - SECOND, at + 9 * SECOND, at) is None
    assert timers.anew(at + SECOND, at + 11 * SECOND, at) is None, "clocks are never quite the same"
    assert timers.anew(at + HOUR, at + HOUR + 10 * SECOND, at) == at + 10 * SECOND
    assert timers.anew(at + HOUR, at, at) == at + SECOND, "what was overdue is due now"


@pytest.mark.servers
@pytest.mark.parametrize("wrong", [HOUR, -HOUR, timedelta(days=3650)])
async def test_a_service_whose_clock_is_wrong_waits_as_long_as_it_was_to_wait(
    bus: Bus, wrong: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock() -> datetime:
        return now() + wrong

    monkeypatch.setattr(bus_module, "now", clock)
    begun = await bus.server_time()
    await bus.arm_after(TIMER, DUE, clock() + 2 * SECOND, {"quiet_for": "CT"})
    await until(lambda: _is_there(bus, DUE))
    fired = await bus.last(subjects.TIMERS, DUE)
    assert fired is not None
    assert fired.time is not None
    assert fired.time - begun > SECOND, "not at once either"
    assert json.loads(fired.data)["quiet_for"] == "CT"


@pytest.mark.servers
async def test_timers_of_a_bus_whose_clock_was_set_back_are_armed_anew_once(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's clock was an hour ahead: what it took then was taken an hour from now."""
    await bus.arm(TIMER, DUE, now() + 30 * SECOND, {"quiet_for": "CT"})
    rearming = timers.Rearming(bus, ("hermes.timer.series.*",))
    assert await rearming.look() == 0, "its clock is right"
    real, back = bus.server_time, timedelta(0)

    async def server_time() -> datetime:
        return await real() - back

    monkeypatch.setattr(bus, "server_time", server_time)
    assert await rearming.look() == 0
    back = HOUR
    assert await rearming.look() == 1
    armed = await bus.last(subjects.TIMERS, TIMER)
    await until(lambda: _is_there(bus, DUE))  # an hour ago, by the clock of the server, so it fires at once
    assert armed is None or armed.headers["Nats-Schedule-Target"] == DUE
    fired = await bus.last(subjects.TIMERS, DUE)
    assert fired is not None
    assert json.loads(fired.data)["quiet_for"] == "CT"
    assert await rearming.look() == 0


async def _is_there(bus: Bus, subject: str) -> bool:
    return await bus.last(subjects.TIMERS, subject) is not None


def test_what_is_due_later_than_it_was_to_wait_is_armed_anew_for_what_is_left_of_that() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    armed = at - 4 * SECOND
    assert timers.anew(armed, armed + HOUR, at) is None, "nobody says how long it was to wait"
    assert timers.anew(armed, armed + HOUR, at, HOUR) is None
    assert timers.anew(armed, armed + HOUR, at, 10 * SECOND) == armed + 10 * SECOND
    assert timers.anew(armed, armed + HOUR, at, 2 * SECOND) == at + SECOND
    assert timers.anew(armed, at - SECOND, at, HOUR) is None, "what is due early is looked at early, and armed again"


@pytest.mark.servers
async def test_a_timer_armed_before_it_was_heard_that_the_clock_of_the_bus_was_set_back_is_armed_anew(bus: Bus) -> None:
    await bus.server_time()
    bus._server_ahead = (time.monotonic(), now().timestamp() + 3600 - time.monotonic())  # as it was a moment ago
    await bus.arm_after(TIMER, DUE, now() + 3 * SECOND)
    wrong = await bus.last(subjects.TIMERS, TIMER)
    assert wrong is not None
    assert wrong.headers["Nats-Schedule"] > f"@at {(now() + HOUR / 2).isoformat()}"
    assert await timers.Rearming(bus, ("hermes.timer.series.*",)).look() == 1
    await until(lambda: _is_there(bus, DUE))
    await bus.arm_after("hermes.timer.series.other", DUE, now() + HOUR)
    other = await bus.last(subjects.TIMERS, "hermes.timer.series.other")
    assert other is not None
    assert other.headers["Nats-Schedule"] < f"@at {(now() + 1.5 * HOUR).isoformat()}", "it has asked again"
