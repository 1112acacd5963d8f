"""Two dispatchers, dead dispatchers, stopped dispatchers, and commands that come twice."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import pytest

from hermes_common import subjects
from hermes_common.ranges import parse_ranges
from hermes_common.records import DeliveryState, Lease, SeriesRecord, SeriesState
from hermes_common.runtime.clock import new_id, now

from .test_dispatcher_faults import said_delivered, slow

pytestmark = pytest.mark.servers


async def test_duplicate_work_on_two_dispatchers_sends_nothing_twice(place, scp) -> None:
    place.lease = timedelta(seconds=2)
    peer = scp(slow(0.02))
    await place.targets(peer.target(concurrency=4))
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(40)])
    for _ in range(3):
        await place.queue(delivery, "pacs")
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
        await asyncio.sleep(2.5)
    assert record.attempt == 1
    assert set(peer.stored().values()) == {1}
    assert len(await place.said(delivery, "succeeded")) == 1
    assert await place.bus.subjects(subjects.WORK, "hermes.work.>") == {}


async def test_a_dispatcher_whose_delivery_was_taken_over_stops_and_says_nothing_more(place, scp) -> None:
    peer = scp(slow(0.05))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(100)])
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.SENDING)
        await asyncio.sleep(0.4)
        other = Lease(owner="somebody else", until=now() + timedelta(seconds=60))
        for _ in range(50):  # the holder renews it all the time: one of our writes comes through
            try:
                await place.change(delivery, lease=other)
                break
            except Exception:  # noqa: BLE001, S112  # a conflict
                continue
        taken = await place.record(delivery)
        assert taken.lease == other
        await asyncio.sleep(0.3)
        count, said = len(peer.received), len(await place.outcomes(delivery))
        await asyncio.sleep(0.5)
        assert (len(peer.received), len(await place.outcomes(delivery))) == (count, said)
        assert count < 60
        assert await place.record(delivery) == taken


async def start(place: Any, **more: str) -> asyncio.subprocess.Process:
    environment = os.environ | {
        "HERMES_NATS_URL": place.url,
        "HERMES_OBJECT_STORE": f"file://{place.folder / 'store'}",
        "HERMES_DISPATCHER_LEASE": "2s",
        "HERMES_LOG_FORMAT": "json",
        **more,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "hermes_dispatcher", env=environment)
    place.started.append(process)
    return process


async def sent(peer: Any, count: int) -> None:
    for _ in range(1200):  # a process takes its time to start on a busy machine
        if len(peer.received) >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"only {len(peer.received)} instances came")


async def test_after_a_kill_in_mid_series_another_dispatcher_sends_only_the_rest(place, scp) -> None:
    place.lease = timedelta(seconds=2)
    peer = scp(slow(0.03))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(60)])
    process = await start(place)
    await sent(peer, 25)
    process.kill()
    await process.wait()
    async with place.dispatcher("dispatcher@b"):
        # the server gives the message of a dead consumer again after ack_wait, which the second one has shortened
        await place.queue(delivery, "pacs")
        record = await place.until(delivery, DeliveryState.SUCCEEDED, seconds=40)
    assert (record.attempt, record.tries, record.interruptions) == (2, 1, 0)
    stored = peer.stored()
    assert len(stored) == 60
    assert sum(stored.values()) - 60 <= 6
    assert await said_delivered(place, delivery) == set(stored)


async def test_a_stopped_dispatcher_gives_its_delivery_back_and_the_next_goes_on_at_once(place, scp) -> None:
    peer = scp(slow(0.03))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(60)])
    process = await start(place)
    await sent(peer, 20)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0
    back = await place.record(delivery)
    assert (back.state, back.lease, back.tries) == (DeliveryState.QUEUED, None, 0)
    assert len(parse_ranges(back.delivered)) == len(peer.received)
    async with place.dispatcher("dispatcher@b"):
        record = await place.until(delivery, DeliveryState.SUCCEEDED, seconds=10)
    assert (record.attempt, record.tries) == (2, 1)
    assert set(peer.stored().values()) == {1}


async def test_a_dispatcher_that_stood_still_sends_nothing_after_its_lease_has_passed(place, scp) -> None:
    peer = scp(slow(0.03))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(200)])
    process = await start(place)
    await sent(peer, 10)
    process.send_signal(signal.SIGSTOP)
    before = await place.record(delivery)
    await asyncio.sleep(2.5)
    other = Lease(owner="somebody else", until=now() + timedelta(seconds=60))
    await place.change(delivery, lease=other)
    count = len(peer.received)
    process.send_signal(signal.SIGCONT)
    await asyncio.sleep(1.5)
    assert len(peer.received) - count <= 1  # what lay in the socket when it stood still
    assert (await place.record(delivery)).lease == other
    assert (await place.record(delivery)).delivered == before.delivered
    process.kill()
    await process.wait()


async def test_a_restart_sends_what_is_missing_or_all_and_counts_once(place) -> None:
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(n) for n in range(4)], state=DeliveryState.FAILED)
    await place.change(delivery, delivered="0-1")
    async with place.dispatcher():
        command = new_id()
        for _ in range(3):
            await place.command(delivery, "restart", command_id=command, bulk="all of them")
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
        await asyncio.sleep(0.3)
        assert (record.generation, record.commands) == (1, (command,))
        assert [each.bulk for each in await place.said(delivery, "restarted")] == ["all of them"]
        assert {outcome.index for outcome in await place.outcomes(delivery)} == {2, 3}
        await place.command(delivery, "restart")
        await asyncio.sleep(0.3)
        assert (await place.record(delivery)).generation == 1
        await place.command(delivery, "restart", "all")
        for _ in range(100):
            record = await place.record(delivery)
            if record.generation == 2 and record.state is DeliveryState.SUCCEEDED:
                break
            await asyncio.sleep(0.05)
    assert (record.generation, record.delivered) == (2, "0-3")
    assert len(await place.said(delivery, "succeeded")) == 2


async def test_a_restart_of_a_waiting_delivery_does_not_wait_for_its_timer(place, scp) -> None:
    peer = scp(lambda n, uid: "abort" if n <= 2 else 0)
    await place.targets(peer.target(retry={"max_attempts": 5, "delay": "1h"}))
    delivery = await place.delivery("pacs", [place.instance(1)])
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.RETRYING)
        await place.command(delivery, "restart")
        await place.until(delivery, DeliveryState.SUCCEEDED)
        before = await place.record(delivery)
        # The timer that was armed before still fires one day, and finds nothing to do.
        await place.bus.arm(subjects.delivery_timer(delivery), subjects.delivery_due(delivery), before.updated_at)
        await asyncio.sleep(0.7)
        assert await place.record(delivery) == before
    assert len(await place.said(delivery, "started")) == 2


@pytest.mark.parametrize("state", [SeriesState.DELETING, SeriesState.DELETED])
async def test_a_delivery_of_a_series_that_is_being_deleted_is_not_restarted(place, state: SeriesState) -> None:
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(1)], state=DeliveryState.CANCELLED)
    series = SeriesRecord(series_uid="1.2.9.1", study_uid="1.2.9", state=state, created_at=now(), updated_at=now())
    key = subjects.series_state("1.2.9.1")
    await place.bus.update(
        subjects.STATE, key, series, await place.bus.last_sequence("KV_hermes_state", f"$KV.hermes_state.{key}")
    )
    async with place.dispatcher():
        await place.command(delivery, "restart")
        await asyncio.sleep(0.5)
    assert (await place.record(delivery)).state is DeliveryState.CANCELLED
    assert not await place.said(delivery, "restarted")


async def test_dismissing_takes_a_failed_delivery_as_done_and_no_other(place) -> None:
    failed = await place.delivery("x", [place.instance(1)], state=DeliveryState.FAILED)
    done = await place.delivery("x", [place.instance(1)], state=DeliveryState.SUCCEEDED)
    async with place.dispatcher():
        await place.command(failed, "dismiss")
        await place.command(done, "dismiss")
        await place.until(failed, DeliveryState.DISMISSED)
        await asyncio.sleep(0.2)
    assert (await place.record(done)).state is DeliveryState.SUCCEEDED
    assert len(await place.said(failed, "dismissed")) == 1
