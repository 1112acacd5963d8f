"""What people ask of deliveries: nothing is sent after it was said to be stopped, and what was sent stays sent."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from hermes_common import subjects
from hermes_common.commands import SeriesCommand
from hermes_common.ids import delivery_id, derived_id
from hermes_common.records import DeliveryRecord, DeliveryState, Lease
from hermes_common.runtime.clock import new_id, now

from .test_dispatcher_faults import said_delivered, slow
from .test_dispatcher_fencing import sent

pytestmark = pytest.mark.servers


async def heard(place: Any, delivery: str, verb: str, seconds: float = 20) -> Any:
    """Wait until something was said of a delivery."""
    deadline = time.monotonic() + seconds
    while not (found := await place.said(delivery, verb)):
        assert time.monotonic() < deadline, f"{verb} was not said"
        await asyncio.sleep(0.02)
    return found[0]


@pytest.mark.parametrize("action", ["cancel", "hold"])
async def test_nothing_is_sent_after_it_was_said_to_be_stopped(place, scp, action: str) -> None:
    peer = scp(slow(0.05))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(100)])
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        await sent(peer, 5)
        began = time.monotonic()
        await place.command(delivery, action)
        event = await heard(place, delivery, "cancelled" if action == "cancel" else "held")
        assert time.monotonic() - began < 10  # it did not have to wait for the lease, which is 60 s
        await asyncio.sleep(0.2)  # what lies in the socket of the peer
        count = len(peer.received)
        await asyncio.sleep(1)
        assert len(peer.received) == count
        assert (event.actor, event.reason) == ("ann", "so it is")
        if action == "cancel":
            return
        assert count < 90
        await place.command(delivery, "release")
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert (record.generation, record.lease) == (1, None)
    assert len(peer.stored()) == 100
    # Twice came the one that was under way, and what was answered since outcomes were last taken down.
    assert sum(peer.stored().values()) <= 104
    assert await said_delivered(place, delivery) == set(peer.stored())


async def test_a_cancel_is_said_only_when_the_lease_of_one_that_does_not_answer_has_passed(place, scp) -> None:
    await place.targets(scp().target())
    lease = Lease(owner="somebody who is gone", until=now() + timedelta(seconds=2))
    delivery = await place.delivery("pacs", [place.instance(1)], state=DeliveryState.SENDING, lease=lease)
    async with place.dispatcher():
        await place.command(delivery, "cancel")
        await place.until(delivery, DeliveryState.CANCELLED)
        await heard(place, delivery, "cancelled")
        assert now() >= lease.until


async def test_a_delivery_of_which_everything_was_sent_cannot_be_cancelled(place, scp) -> None:
    await place.targets(scp().target())
    done = await place.delivery("pacs", [place.instance(1)])
    lease = Lease(owner="somebody", until=now() + timedelta(seconds=60))
    nearly = await place.delivery("pacs", [place.instance(2)], state=DeliveryState.SENDING, lease=lease, delivered="0")
    async with place.dispatcher():
        await place.until(done, DeliveryState.SUCCEEDED)
        for delivery in (done, nearly):
            await place.command(delivery, "cancel")
        other = await place.delivery("pacs", [place.instance(3)], state=DeliveryState.FAILED)
        await place.command(other, "dismiss")
        await heard(place, other, "dismissed")  # commands are carried out in their order, several at a time
        await asyncio.sleep(0.3)
        assert (await place.record(done)).state is DeliveryState.SUCCEEDED
        assert (await place.record(nearly)).state is DeliveryState.SENDING
        assert not await place.said(done, "cancelled")


async def test_many_cancels_that_race_with_sending_leave_each_delivery_either_sent_or_cancelled(place, scp) -> None:
    peer = scp(slow(0.01))
    await place.targets(peer.target(concurrency=4))
    deliveries = [await place.delivery("pacs", [place.instance(1000 + n)]) for n in range(60)]
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        await sent(peer, 5)
        for delivery in deliveries:
            await place.command(delivery, "cancel")
        for delivery in deliveries:
            await place.until(delivery, DeliveryState.SUCCEEDED, DeliveryState.CANCELLED, seconds=40)
        count = len(peer.received)
    stored = peer.stored()
    states = [(await place.record(delivery)).state for delivery in deliveries]
    assert {DeliveryState.SUCCEEDED, DeliveryState.CANCELLED} == set(states)
    for number, (delivery, state) in enumerate(zip(deliveries, states, strict=True)):
        if state is DeliveryState.SUCCEEDED:
            assert stored[f"1.2.9.1.{1000 + number}"] == 1
            assert not await place.said(delivery, "cancelled")
        elif not await place.said(delivery, "started"):
            assert stored[f"1.2.9.1.{1000 + number}"] == 0
    assert len(peer.received) == count


async def test_a_held_delivery_waits_however_often_its_work_comes_and_goes_on_when_it_is_released(place) -> None:
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(1)], state=DeliveryState.HELD)
    async with place.dispatcher():
        for _ in range(3):
            await place.queue(delivery, "folder")
        marker = await place.delivery("folder", [place.instance(2)])
        await place.until(marker, DeliveryState.SUCCEEDED)
        assert (await place.record(delivery)).state is DeliveryState.HELD
        command = new_id()
        for _ in range(2):
            await place.command(delivery, "release", command_id=command)
        await place.until(delivery, DeliveryState.SUCCEEDED)
    assert len(await place.said(delivery, "released")) == 1
    assert not await place.said(delivery, "held")


async def routed(place: Any, seconds: float = 10) -> SeriesCommand:
    """Take what the router is asked for, as it does."""
    deadline = time.monotonic() + seconds
    while (found := await place.bus.following(subjects.WORK, subjects.SERIES_COMMANDS, 0)) is None:
        assert time.monotonic() < deadline, "the router was not asked"
        await asyncio.sleep(0.05)
    return SeriesCommand.model_validate_json(found.data)


async def test_a_reroute_cancels_only_when_the_other_delivery_exists(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target("other"), place.to_folder("pacs").model_copy(update={"enabled": False}))
    delivery = await place.delivery("pacs", [place.instance(1)])
    command = new_id()
    async with place.dispatcher():
        await place.command(delivery, "reroute", command_id=command, to="other")
        asked = await routed(place)
        record = await place.record(delivery)
        assert record.state is DeliveryState.HELD
        assert (asked.action, asked.targets, asked.batch_ids) == ("route", ("other",), (record.batch_id,))
        assert asked.command_id == derived_id("reroute", command)
        made = record.model_copy(
            update={
                "delivery_id": delivery_id(record.batch_id, "other", asked.command_id),
                "target": "other",
                "state": DeliveryState.QUEUED,
                "commands": (),
            }
        )
        assert isinstance(made, DeliveryRecord)
        await place.bus.create(subjects.STATE, subjects.delivery_state(made.delivery_id), made)
        await place.queue(made.delivery_id, "other")
        await place.until(delivery, DeliveryState.CANCELLED)
        event = await heard(place, delivery, "cancelled")
        await place.until(made.delivery_id, DeliveryState.SUCCEEDED)
    assert (event.rerouted_to, event.reason) == ("other", "so it is")
    assert len(peer.stored()) == 1
