"""Dispatchers whose own clock is a day wrong, beside one whose clock is right: nothing early, twice, or held back."""

import asyncio
import os
import sys
import time
from datetime import timedelta
from typing import Any

import pytest

from hermes_common import subjects
from hermes_common.records import DeliveryState, Lease
from hermes_common.runtime import bus as bus_module
from hermes_common.runtime.clock import now
from hermes_common.targets import Retry
from hermes_dispatcher.handlers.speaking import Speaker, is_over
from hermes_dispatcher.handlers.stopping import stopped

from .test_dispatcher_faults import slow
from .test_dispatcher_fencing import sent

pytestmark = pytest.mark.servers

DAY = 86400
WRONG = pytest.mark.parametrize("seconds", [DAY, -DAY], ids=["a day ahead", "a day behind"])
PROGRAM = """
import runpy, sys
from datetime import timedelta
from hermes_common.runtime import clock
right, wrong = clock.now, timedelta(seconds=int(sys.argv.pop(1)))
clock.now = lambda: right() + wrong
runpy.run_module("hermes_dispatcher", run_name="__main__")
"""


async def start(place: Any, seconds: int) -> asyncio.subprocess.Process:
    """Start a dispatcher in a process whose clock is so many seconds ahead."""
    environment = os.environ | {
        "HERMES_NATS_URL": place.url,
        "HERMES_OBJECT_STORE": f"file://{place.folder / 'store'}",
        "HERMES_DISPATCHER_LEASE": "2s",
        "HERMES_LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, str(seconds), env=environment)
    place.started.append(process)
    return process


@WRONG
async def test_what_a_dispatcher_whose_clock_is_wrong_sends_is_not_sent_by_another_one_as_well(
    place, scp, seconds
) -> None:
    place.lease = timedelta(seconds=2)
    peer = scp(slow(0.05))
    await place.targets(peer.target(concurrency=4))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(80)])
    await start(place, seconds)
    await sent(peer, 5)
    async with place.dispatcher("dispatcher@right"):
        for _ in range(3):
            await place.queue(delivery, "pacs")
        record = await place.until(delivery, DeliveryState.SUCCEEDED, seconds=30)
    assert record.attempt == 1
    assert set(peer.stored().values()) == {1}


@WRONG
async def test_a_dispatcher_whose_clock_is_wrong_takes_nothing_from_one_that_is_at_work(place, scp, seconds) -> None:
    place.lease = timedelta(seconds=2)
    peer = scp(slow(0.05))
    await place.targets(peer.target(concurrency=4))
    async with place.dispatcher("dispatcher@right"):
        delivery = await place.delivery("pacs", [place.instance(n) for n in range(200)])
        await sent(peer, 5)
        process = await start(place, seconds)
        for _ in range(12):
            await place.queue(delivery, "pacs")
            await asyncio.sleep(0.4)
        assert process.returncode is None
        record = await place.until(delivery, DeliveryState.SUCCEEDED, seconds=40)
    assert record.attempt == 1
    assert set(peer.stored().values()) == {1}


@WRONG
async def test_what_a_dispatcher_whose_clock_is_wrong_left_when_it_was_killed_is_taken_over_at_once(
    place, scp, seconds
) -> None:
    place.lease = timedelta(seconds=2)
    peer = scp(slow(0.03))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(60)])
    process = await start(place, seconds)
    await sent(peer, 20)
    process.kill()
    await process.wait()
    lease = (await place.record(delivery)).lease
    assert lease is not None
    assert abs(lease.until - now()) < timedelta(seconds=4)
    async with place.dispatcher("dispatcher@right"):
        await place.queue(delivery, "pacs")
        record = await place.until(delivery, DeliveryState.SUCCEEDED, seconds=20)
    assert (record.attempt, record.tries) == (2, 1)


@WRONG
async def test_a_wait_that_a_dispatcher_whose_clock_is_wrong_began_is_as_long_as_it_is_to_be(
    place, scp, seconds
) -> None:
    peer = scp(lambda count, _: 0xA700 if count == 1 else 0)
    retry = Retry(max_attempts=3, delay=timedelta(seconds=4), factor=1, max_delay=timedelta(seconds=4))
    await place.targets(peer.target(retry=retry.model_copy(update={"max_age": timedelta(hours=1)})))
    delivery = await place.delivery("pacs", [place.instance(0)])
    process = await start(place, seconds)
    waiting = await place.until(delivery, DeliveryState.RETRYING, seconds=60)
    began = time.monotonic()
    assert abs(waiting.next_attempt_at - now()) < timedelta(seconds=8)
    process.terminate()
    await process.wait()
    async with place.dispatcher("dispatcher@right"):
        record = await place.until(delivery, DeliveryState.SUCCEEDED, seconds=20)
    assert time.monotonic() - began > 1.5, "not before its time"
    assert record.tries == 2


@WRONG
async def test_a_wait_that_ends_at_a_dispatcher_whose_clock_is_wrong_is_not_begun_again(place, scp, seconds) -> None:
    peer = scp()
    await place.targets(peer.target())
    await start(place, seconds)
    at = now() + timedelta(seconds=8)
    delivery = await place.delivery(
        "pacs", [place.instance(0)], state=DeliveryState.RETRYING, attempt=1, tries=1, next_attempt_at=at
    )
    await place.bus.common_time()
    await Speaker(place.bus).standing(await place.record(delivery))
    await place.until(delivery, DeliveryState.SUCCEEDED, seconds=40)
    assert now() > at - timedelta(seconds=1), "not before its time"


async def test_a_timer_ends_the_wait_that_it_was_armed_for_after_the_clock_of_the_bus_was_set_back(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target())
    at = now() + timedelta(hours=5)
    delivery = await place.delivery(
        "pacs", [place.instance(0)], state=DeliveryState.RETRYING, attempt=1, tries=1, next_attempt_at=at
    )
    note = {"for": at.isoformat()}
    async with place.dispatcher():
        while await place.bus.subjects(subjects.WORK, "hermes.work.>"):
            await asyncio.sleep(0.05)
        await place.bus.arm(subjects.delivery_timer(delivery), subjects.delivery_due(delivery), now(), note)
        await place.until(delivery, DeliveryState.SUCCEEDED)


def test_a_timer_of_an_earlier_wait_ends_no_other_and_one_of_the_release_before_is_told_by_the_clock() -> None:
    at = now()
    mine = f'{{"for": "{at.isoformat()}", "due": "{at.isoformat()}"}}'.encode()
    for present in (at - timedelta(days=1), at, at + timedelta(days=1)):
        assert is_over(mine, at, present)
        assert not is_over(mine, at + timedelta(seconds=1), present)
        assert is_over(mine, None, present)
    for old in (b"", b"{}", b'{"due": "x"}', b"[]", b"no json", b'{"for": 5}'):
        assert is_over(old, at, at)
        assert not is_over(old, at, at - timedelta(minutes=1))


async def test_the_end_of_a_lease_is_waited_for_no_longer_when_the_clock_of_the_bus_is_set_back(
    bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bus.common_time()
    began, present = time.monotonic(), bus.now
    lease = Lease(owner="nobody", until=present() + timedelta(seconds=1.5))
    monkeypatch.setattr(bus, "now", lambda: present() - timedelta(hours=time.monotonic() - began > 0.5))
    async with asyncio.timeout(5):
        await stopped(bus, lease)
    assert time.monotonic() - began > 1.2, "not before its end"


async def test_the_time_of_the_bus_is_kept_by_whoever_has_a_wrong_clock(bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "now", lambda: now() + timedelta(days=1))
    assert bus.now() - now() > timedelta(hours=23), "nothing better is known yet"
    await bus.common_time()
    assert abs(bus.now() - now()) < timedelta(seconds=5)
    bus.forget_server_time()
    assert abs(bus.now() - now()) < timedelta(seconds=5)
    monkeypatch.setattr(bus_module, "_ASK_TIME", 0.05)
    real = bus.server_time

    async def later() -> Any:
        return await real() + timedelta(hours=1)

    monkeypatch.setattr(bus, "server_time", later)
    stopping = asyncio.Event()
    keeping = asyncio.create_task(bus.keep_time(stopping))
    await asyncio.sleep(0.5)
    assert abs(bus.now() - now() - timedelta(hours=1)) < timedelta(seconds=5)
    stopping.set()
    await asyncio.wait_for(keeping, 5)
