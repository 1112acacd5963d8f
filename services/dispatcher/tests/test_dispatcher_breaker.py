"""A target that is down is noticed once, costs no try, and gets everything soon after it is back; pauses; turns."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pynetdicom import AE

from hermes_common import config, subjects
from hermes_common.events import TargetDown, TargetPaused, TargetResumed, TargetUp
from hermes_common.records import DeliveryState, Places, TargetRecord
from hermes_common.runtime.clock import now
from hermes_common.targettests import ASK, TargetTestAsked, TargetTested
from hermes_common.windows import OffPeak

from .conftest import QUICK, free_port
from .test_dispatcher_faults import slow

pytestmark = pytest.mark.servers


def dead(port: int, **more: Any) -> config.DicomTarget:
    fields = {"retry": QUICK, "concurrency": 1} | more
    return config.DicomTarget(slug="pacs", name="p", host="127.0.0.1", port=port, called_aet="SCP", **fields)


async def said(place: Any, count: int, seconds: float = 10) -> list[Any]:
    deadline = time.monotonic() + seconds
    while len(found := await place.events("target")) < count:
        assert time.monotonic() < deadline, f"only {found}"
        await asyncio.sleep(0.1)
    return found


async def test_a_target_that_is_down_costs_no_try_is_said_once_and_gets_everything_when_it_is_back(place, scp) -> None:
    port = free_port()
    await place.targets(dead(port))
    deliveries = [await place.delivery("pacs", [place.instance(n)]) for n in range(4)]
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        record = await place.down("pacs")
        assert "connect to port" in record.reason
        await asyncio.sleep(4)  # tests go on meanwhile
        records = [await place.record(delivery) for delivery in deliveries]
        assert {(one.state, one.tries) for one in records} == {(DeliveryState.QUEUED, 0)}
        assert any("the target is down" in one.reason for one in records)
        began = time.monotonic()
        peer = scp(port=port)
        for delivery in deliveries:
            await place.until(delivery, DeliveryState.SUCCEEDED)
        assert time.monotonic() - began < 12
        down, up = await said(place, 2)
        assert await place.bus.load(subjects.STATE, subjects.target_state("pacs"), TargetRecord) is None
        peer.close()
        await place.delivery("pacs", [place.instance(9)])
        again = (await said(place, 3))[2]
    assert isinstance(again, TargetDown)
    assert again.outage != down.outage
    assert isinstance(down, TargetDown)
    assert isinstance(up, TargetUp)
    assert (down.target, down.outage) == (up.target, up.outage)
    assert set(peer.stored().values()) == {1}
    assert [len(await place.said(delivery, "failed")) for delivery in deliveries] == [0] * 4


async def test_a_target_that_rejects_us_is_down_for_that_reason_until_it_is_removed(place) -> None:
    entity = AE(ae_title="SCP")
    entity.require_called_aet = True
    entity.add_supported_context("1.2.840.10008.1.1")
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False)
    try:
        await place.targets(dead(port).model_copy(update={"called_aet": "OTHER"}))
        delivery = await place.delivery("pacs", [place.instance(1)])
        async with place.dispatcher():
            assert "called AE title" in (await place.down("pacs")).reason
            await place.targets()
            await place.until(delivery, DeliveryState.FAILED)
            events = await said(place, 2)
        assert "removed" in events[1].reason
    finally:
        server.shutdown()


async def test_a_pause_is_said_ends_by_itself_and_the_delivery_goes_on(place) -> None:
    start = now()
    pause = config.Pause(since=start, until=start + timedelta(seconds=3), reason="new disks", actor="ann")
    await place.targets(place.to_folder(pause=pause))
    delivery = await place.delivery("folder", [place.instance(1)])
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        await said(place, 1)
        assert (await place.record(delivery)).state is DeliveryState.QUEUED
        await place.until(delivery, DeliveryState.SUCCEEDED)
        assert now() >= start + timedelta(seconds=3)
        paused, resumed = await said(place, 2)
    assert isinstance(paused, TargetPaused)
    assert (paused.actor, paused.reason) == ("ann", "new disks")
    assert isinstance(resumed, TargetResumed)
    assert (resumed.actor, resumed.reason) == ("", "its time was over")


async def test_the_urgent_overtake_and_the_others_are_not_starved(place, scp) -> None:
    peer = scp(slow(0.15))
    await place.targets(peer.target(concurrency=1))
    normal = [await place.delivery("pacs", [place.instance(n)]) for n in range(6)]
    urgent = [await place.delivery("pacs", [place.instance(n)], priority=config.Priority.URGENT) for n in range(10, 17)]
    async with place.dispatcher():
        for delivery in normal + urgent:
            await place.until(delivery, DeliveryState.SUCCEEDED)
    order = ["urgent" if int(uid.rpartition(".")[2]) >= 10 else "normal" for uid in peer.received]
    last = max(n for n, kind in enumerate(order) if kind == "urgent")
    overtaken = order[last:].count("normal")
    assert overtaken >= 3  # most of those who came first
    assert "normal" in order[: last + 1]  # but not all of them waited for the last urgent one
    assert (await place.bus.load(subjects.STATE, subjects.target_places("pacs"), Places))[0].holders == {}


async def test_off_peak_deliveries_wait_for_their_hours(place) -> None:
    hour = now().hour
    closed = OffPeak(start=f"{(hour + 6) % 24:02}:00", end=f"{(hour + 8) % 24:02}:00", days=())
    await place.save(config.Kind.POLICIES, config.Policies(off_peak=closed))
    await place.targets(place.to_folder())
    delivery = await place.delivery("folder", [place.instance(1)], priority=config.Priority.OFF_PEAK)
    other = await place.delivery("folder", [place.instance(2)])
    async with place.dispatcher():
        await place.until(other, DeliveryState.SUCCEEDED)
        await asyncio.sleep(1.5)
        assert (await place.record(delivery)).state is DeliveryState.QUEUED
        await place.save(config.Kind.POLICIES, config.Policies(off_peak=OffPeak(days=tuple(range(7)))))
        await place.until(delivery, DeliveryState.SUCCEEDED)


async def test_a_dispatcher_tests_a_target_for_whoever_asks_over_the_bus(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target(), dead(free_port()).model_copy(update={"slug": "dead"}))

    async def ask(slug: str) -> TargetTested:
        answer = await place.bus.nc.request(ASK, TargetTestAsked(slug=slug).model_dump_json().encode(), timeout=20)
        return TargetTested.model_validate_json(answer.data)

    async with place.dispatcher():
        await place.until(await place.delivery("pacs", [place.instance(1)]), DeliveryState.SUCCEEDED)
        good, bad, unknown = await ask("pacs"), await ask("dead"), await ask("nowhere")
    assert good.ok
    assert [step.name for step in good.steps] == [
        "resolve 127.0.0.1", f"connect to port {peer.port} (TCP)", "association", "C-ECHO", "release",
    ]  # fmt: skip
    assert "it takes CT, MR" in good.steps[2].detail
    assert good.dispatcher == "dispatcher@a"
    assert not bad.ok
    assert "refused" in bad.steps[-1].detail
    assert "not in the configuration" in unknown.steps[0].detail


@contextlib.asynccontextmanager
async def dripping() -> AsyncIterator[int]:
    """A peer that reads one octet a second and never answers."""
    open_ones: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones[task] = writer
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while await reader.read(1):
                await asyncio.sleep(1)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, writer in open_ones.items():
            task.cancel()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_targets_that_are_dead_slow_or_deaf_do_not_delay_the_others(place, scp) -> None:
    healthy, deaf = scp(), scp()
    deaf.deaf = True
    async with dripping() as port:
        await place.targets(
            healthy.target("healthy", concurrency=2),
            place.to_folder(),
            dead(free_port()).model_copy(update={"slug": "dead"}),
            dead(port, response_timeout=timedelta(seconds=5)).model_copy(update={"slug": "drip"}),
            deaf.target("deaf"),
        )
        for slug in ("dead", "drip", "deaf"):
            for n in range(4):
                await place.delivery(slug, [place.instance(n, 400_000)])
        took: list[float] = []
        async with place.dispatcher():
            for n in range(20):
                began = time.monotonic()
                pair = [await place.delivery(slug, [place.instance(n)]) for slug in ("healthy", "folder")]
                for delivery in pair:
                    await place.until(delivery, DeliveryState.SUCCEEDED)
                took.append(time.monotonic() - began)
            deaf.deaf = False
            deaf.release.set()
    assert sorted(took)[18] < 2.5  # p95, coarse: without trouble it takes some 0.1 s
