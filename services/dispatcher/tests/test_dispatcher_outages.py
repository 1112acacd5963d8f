"""The bus and the store away, errors of the dispatcher itself, and messages that come again after a crash."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hermes_common import subjects
from hermes_common.commands import DeliveryCommand
from hermes_common.records import DeliveryState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.consumer import Done, Message, RetryAfter
from hermes_common.runtime.errors import BusUnavailableError
from hermes_dispatcher.handlers import working
from hermes_dispatcher.handlers.commanding import Commander

from .test_dispatcher_faults import slow

pytestmark = pytest.mark.servers


async def test_sending_outlasts_a_short_outage_of_the_bus_without_sending_anything_twice(
    place: Any, scp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = scp(slow(0.02))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(50)])
    send, away = Bus.send, asyncio.Event()

    async def broken(self: Bus, *args: Any, **more: Any) -> int:
        if away.is_set():
            raise BusUnavailableError("away")
        sequence = await send(self, *args, **more)
        if len(peer.received) > 10 and not away.is_set() and "again" not in seen:
            seen.add("again")
            away.set()
            asyncio.get_running_loop().call_later(2, away.clear)
            raise BusUnavailableError("its answer was lost")
        return sequence

    seen: set[str] = set()
    monkeypatch.setattr(Bus, "send", broken)
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert "again" in seen
    assert record.attempt == 1
    assert set(peer.stored().values()) == {1}
    assert len(peer.stored()) == 50


async def test_a_store_that_is_away_costs_the_delivery_no_try(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_SOON", timedelta(milliseconds=300))
    await place.targets(place.to_folder())
    instances = [place.instance(n) for n in range(3)]
    delivery = await place.delivery("folder", instances)
    root, gone = place.folder / "store", place.folder / "gone"
    root.rename(gone)
    async with place.dispatcher():
        await asyncio.sleep(1)
        assert (await place.record(delivery)).tries == 0
        gone.rename(root)
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.tries == 1


async def test_an_error_of_the_dispatcher_itself_ends_in_failed_with_its_kind_and_place(place: Any) -> None:
    class Broken:
        def send(self, *_: Any) -> None:
            raise ValueError("a mistake of ours")

    place.sender_of = lambda target, endpoint: Broken()
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(0)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert record.tries == 3
    assert "an error of ours: ValueError in test_dispatcher_outages.py, line " in record.reason
    assert "a mistake of ours" not in record.reason, "what a library says may quote a value"


async def test_work_found_again_while_the_delivery_waits_arms_the_timer_that_a_crash_had_prevented(place: Any) -> None:
    await place.targets(place.to_folder())
    changes = {"state": DeliveryState.RETRYING, "next_attempt_at": now(), "attempt": 1, "tries": 1, "reason": "r"}
    delivery = await place.delivery("folder", [place.instance(0)], **changes)
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert (record.attempt, record.tries) == (2, 2)
    assert len(await place.said(delivery, "retrying")) == 1


async def test_work_without_a_record_is_parked_in_the_end(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_SOON", timedelta(milliseconds=20))
    await place.targets(place.to_folder())
    await place.queue(new_id(), "folder")
    async with place.dispatcher():
        for _ in range(100):
            if parked := await place.bus.subjects(subjects.PARKED, ">"):
                break
            await asyncio.sleep(0.1)
    assert parked == {"hermes.parked.dispatch-folder": 1}
    assert await place.bus.subjects(subjects.WORK, ">") == {}


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_restart_that_meets_the_cleaner_steps_back(place: Any, is_known: bool) -> None:
    """``is_known``: whether the same handling changed the record, or one that died before it looked at the series."""
    delivery = await place.delivery("x", [place.instance(0)], state=DeliveryState.FAILED)
    command = DeliveryCommand(command_id=new_id(), actor="ann", delivery_id=delivery, action="restart")
    if not is_known:
        await place.change(delivery, state=DeliveryState.QUEUED, commands=(command.command_id,))
    commander = Commander(place.bus)
    answers = [True, False] if is_known else [False]

    async def is_open(_: Any) -> bool:
        return answers.pop(0)

    commander._is_open = is_open
    before = await place.record(delivery)
    message = Message(subjects.DELIVERY_COMMANDS, {}, command.model_dump_json().encode(), 1, 1)
    outcome = await commander.handle(message)
    after = await place.record(delivery)
    if is_known:
        assert isinstance(outcome, RetryAfter)
        assert after == before
    else:
        assert isinstance(outcome, Done)
        assert after.state is DeliveryState.CANCELLED
    assert not await place.said(delivery, "restarted")
