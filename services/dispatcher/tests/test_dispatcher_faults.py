"""Targets that abort, refuse, stall and lie dead: nothing is said to be delivered without its own answer."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hermes_common.manifest import Manifest
from hermes_common.ranges import parse_ranges
from hermes_common.records import DeliveryState
from hermes_common.runtime.documents import StoredDocuments

from .conftest import CT, MR, QUICK, SERIES

pytestmark = pytest.mark.servers


async def said_delivered(place: Any, delivery: str) -> set[str]:
    """SOP instance UIDs that the events and the record say were delivered: the same."""
    outcomes = [outcome for outcome in await place.outcomes(delivery) if outcome.result == "delivered"]
    record = await place.record(delivery)
    assert parse_ranges(record.delivered) == {outcome.index for outcome in outcomes}
    return {outcome.sop_instance_uid for outcome in outcomes}


async def test_a_target_that_aborts_now_and_then_gets_only_what_is_missing_and_ends_with_everything(place, scp) -> None:
    peer = scp(lambda n, uid: "abort" if n in (4, 9, 11) else 0)
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(10)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.attempt == 2
    assert await said_delivered(place, delivery) == set(peer.stored())
    assert set(peer.stored().values()) == {1}
    [retry] = await place.said(delivery, "retrying")
    assert "aborted the association" in retry.reason


async def test_one_instance_over_which_the_target_always_aborts_does_not_keep_the_others_back(place, scp) -> None:
    peer = scp(lambda n, uid: "abort" if uid.endswith(".0") else 0)
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(6)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert (record.delivered, record.tries) == ("1-5", 3)
    assert await said_delivered(place, delivery) == set(peer.stored())
    [failed] = await place.said(delivery, "failed")
    assert failed.missing == 1
    assert "given up after 3 attempts" in failed.reason


async def test_what_a_target_refuses_for_good_is_sent_once_and_the_rest_is_delivered(place, scp) -> None:
    answers = {".1": 0xC000, ".2": 0xA900, ".3": 0xB000, ".4": 0x0122}
    busy = {".5": 2}

    def script(_: int, uid: str) -> int:
        tail = uid[len(SERIES) :]
        if busy.get(tail, 0):
            busy[tail] -= 1
            return 0xA700
        return answers.get(tail, 0)

    peer = scp(script)
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(7)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert (record.delivered, record.refused, record.attempt) == ("0,3,5-6", "1-2,4", 3)
    assert [peer.received.count(f"{SERIES}.{n}") for n in range(7)] == [1, 1, 1, 1, 1, 3, 1]
    assert "3 refused for good" in record.reason
    assert "C000H" in record.reason
    statuses = {(o.index, o.result, o.status) for o in await place.outcomes(delivery)}
    assert {(1, "failed", 0xC000), (2, "failed", 0xA900), (3, "delivered", 0xB000), (5, "failed", 0xA700)} <= statuses
    assert await said_delivered(place, delivery) == set(peer.stored())


async def test_instances_over_which_a_target_is_always_busy_do_not_keep_the_others_back(place, scp) -> None:
    always = {f"{SERIES}.{n}" for n in range(3)}
    peer = scp(lambda n, uid: 0xA700 if uid in always else 0)
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(12)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert (record.delivered, record.tries) == ("3-11", 3)
    assert await said_delivered(place, delivery) == set(peer.stored())
    assert set(peer.stored().values()) == {1}


async def test_a_sop_class_that_the_target_does_not_take_fails_alone_and_at_once(place, scp) -> None:
    peer = scp(classes=(CT,))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n, sop_class=MR if n == 1 else CT) for n in range(3)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert (record.delivered, record.refused, record.attempt) == ("0,2", "1", 1)
    assert "does not take SOP class" in record.reason
    assert "of no use" in record.reason


async def test_a_full_target_is_left_alone_after_a_few_answers_and_tried_again(place, scp) -> None:
    peer = scp(lambda n, uid: 0xA700 if n <= 3 else 0)
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(8)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.attempt == 2
    assert len(peer.received) == 11


@pytest.mark.parametrize("how", ["hang", "deaf"])
async def test_a_target_that_hangs_is_left_within_its_time_limit_and_delays_no_other(place, scp, how: str) -> None:
    stuck = scp(lambda n, uid: "hang" if n >= 2 else 0)
    stuck.deaf = how == "deaf"
    await place.targets(stuck.target("stuck"), place.to_folder())
    octets = 4_000_000 if how == "deaf" else 2000
    hanging = [await place.delivery("stuck", [place.instance(n, octets) for n in range(3)]) for _ in range(2)]
    others = [await place.delivery("folder", [place.instance(n)]) for n in range(5)]
    async with place.dispatcher():
        began = time.monotonic()
        for other in others:
            await place.until(other, DeliveryState.SUCCEEDED)
        assert time.monotonic() - began < 2
        if how == "hang":  # it still takes associations: it is not down, and the attempt was one
            record = await place.until(hanging[0], DeliveryState.RETRYING)
            assert "did nothing for 2 s" in record.reason
        else:
            assert "did nothing" in (await place.down("stuck")).reason
        assert await said_delivered(place, hanging[0]) == set(stuck.stored())
        await place.command(hanging[0], "cancel")
        await place.command(hanging[1], "cancel")
        await place.until(hanging[1], DeliveryState.CANCELLED)
        stuck.deaf = False
        stuck.release.set()


async def test_work_for_a_target_that_was_removed_fails_with_that_reason(place) -> None:
    delivery = await place.delivery("gone", [place.instance(0)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert record.reason == "target gone is not configured"
    assert len(await place.said(delivery, "failed")) == 1


async def test_damaged_and_missing_objects_are_never_sent_and_the_others_are(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target())
    instances = [place.instance(n, 300_000 if n == 3 else 2000) for n in range(5)]
    for number in (1, 3):
        path = place.store.local_path(instances[number].key)
        data = bytearray(path.read_bytes())
        data[-7] ^= 1
        path.write_bytes(data)
    place.store.delete(instances[2].key)
    delivery = await place.delivery("pacs", instances)
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.FAILED)
    assert (record.delivered, record.attempt) == ("0,4", 3), "what is not there may come back, as after a power cut"
    assert "given up after 3 attempts" in record.reason
    assert set(peer.received) == {f"{SERIES}.0", f"{SERIES}.4"}
    reasons = {o.index: o.reason for o in await place.outcomes(delivery) if o.result == "failed"}
    assert "SHA-256 differs" in reasons[1]
    assert "no object" in reasons[2]
    assert "SHA-256 differs" in reasons[3]
    assert not list(place.folder.glob("hermes-*.part"))


async def test_an_object_that_the_receiver_puts_back_is_delivered_by_a_later_attempt(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target())
    instances = [place.instance(n) for n in range(2)]
    body = place.store.get_bytes(instances[1].key, 10_000)
    place.store.delete(instances[1].key)
    delivery = await place.delivery("pacs", instances)
    async with place.dispatcher():
        waiting = await place.until(delivery, DeliveryState.RETRYING)
        assert (waiting.delivered, "1 not in the store" in waiting.reason) == ("0", True)
        place.store.put_bytes(instances[1].key, body)
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.attempt == 2
    assert peer.stored() == {f"{SERIES}.0": 1, f"{SERIES}.1": 1}


async def test_a_manifest_that_the_store_has_lost_is_read_from_its_copy_and_put_back(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(0)])
    key = (await place.record(delivery)).manifest_key
    manifest = Manifest.model_validate_json(place.store.get_bytes(key, 10_000))
    delivery = await place.delivery("pacs", [place.instance(1)], manifest_key="manifests/1.2/lost.json")
    await StoredDocuments(place.bus, place.store).write("manifests/1.2/lost.json", manifest)
    place.store.delete("manifests/1.2/lost.json")
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.SUCCEEDED)
    assert peer.stored()[f"{SERIES}.0"] == 2
    assert Manifest.model_validate_json(place.store.get_bytes("manifests/1.2/lost.json", 10_000)) == manifest


async def test_a_missing_manifest_fails_the_delivery(place) -> None:
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(0)], manifest_key="manifests/1.2/none.json")
    async with place.dispatcher():
        assert "manifest" in (await place.until(delivery, DeliveryState.FAILED)).reason


async def test_a_folder_keeps_other_bytes_under_the_same_uid_and_knows_its_own(place) -> None:
    await place.targets(place.to_folder())
    first, second = place.instance(1, 2000), place.instance(1, 4000)
    async with place.dispatcher():
        for instance in (first, second, first, second):
            await place.until(await place.delivery("folder", [instance]), DeliveryState.SUCCEEDED)
    files = sorted(path.name for path in (place.folder / "folder/1.2.9/1.2.9.1").iterdir())
    assert files == [f"{SERIES}.1-{second.digest[:16]}.dcm", f"{SERIES}.1.dcm"]


async def test_a_folder_that_is_not_mounted_is_not_written_beside(place) -> None:
    target = place.to_folder()
    (place.folder / "folder").rmdir()
    await place.targets(target)
    delivery = await place.delivery("folder", [place.instance(1)])
    async with place.dispatcher():
        await place.down("folder")
        assert "does not exist" in (await place.record(delivery)).reason
        assert (await place.record(delivery)).tries == 0
        (place.folder / "folder").mkdir()
        await place.until(delivery, DeliveryState.SUCCEEDED)


async def test_a_paused_target_rests_and_goes_on_when_it_is_resumed(place) -> None:
    await place.targets(place.to_folder(enabled=False))
    delivery = await place.delivery("folder", [place.instance(1)])
    async with place.dispatcher():
        await asyncio.sleep(0.7)
        assert (await place.record(delivery)).state is DeliveryState.QUEUED
        await place.targets(place.to_folder())
        await place.until(delivery, DeliveryState.SUCCEEDED)


async def test_no_more_attempts_run_at_a_time_than_the_target_allows_over_all_dispatchers(place, scp) -> None:
    now, most = [0], [0]

    def script(_: int, __: str) -> int:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.05)
        now[0] -= 1
        return 0

    peer = scp(script)
    await place.targets(peer.target(concurrency=2))
    deliveries = [await place.delivery("pacs", [place.instance(n) for n in range(2)]) for _ in range(8)]
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        for delivery in deliveries:
            await place.until(delivery, DeliveryState.SUCCEEDED)
    assert most[0] == 2
    assert sum(peer.stored().values()) == 16


def slow(seconds: float) -> Callable[[int, str], int]:
    def script(_: int, __: str) -> int:
        time.sleep(seconds)
        return 0

    return script


async def test_a_cancelled_delivery_stops_at_its_next_checkpoint_and_says_nothing_more(place, scp) -> None:
    peer = scp(slow(0.05))
    await place.targets(peer.target())
    delivery = await place.delivery("pacs", [place.instance(n) for n in range(100)])
    async with place.dispatcher():
        await place.until(delivery, DeliveryState.SENDING)
        await asyncio.sleep(0.5)
        await place.command(delivery, "cancel")
        while (record := await place.until(delivery, DeliveryState.CANCELLED)).lease is not None:
            await asyncio.sleep(0.05)  # it is taken off when whoever sends has stopped
        await asyncio.sleep(0.3)
        count = len(peer.received)
        await asyncio.sleep(0.5)
        assert len(peer.received) == count < 60
    assert await place.record(delivery) == record
    assert not await place.said(delivery, "failed")
    [cancelled] = await place.said(delivery, "cancelled")
    assert cancelled.actor == "ann"


async def test_a_target_that_is_dead_for_long_answers_when_it_is_back(place, scp) -> None:
    peer = scp(lambda n, uid: "abort" if n <= 2 else 0)
    await place.targets(peer.target(retry=QUICK.model_copy(update={"delay": timedelta(seconds=1)})))
    delivery = await place.delivery("pacs", [place.instance(0)])
    async with place.dispatcher():
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
    assert record.attempt == 2
    assert set(peer.stored().values()) == {1}
