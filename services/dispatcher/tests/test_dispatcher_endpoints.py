"""Targets with several endpoints: one that is down is left out, all that are down are an outage; places and limits."""

import asyncio
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from hermes_common import config, subjects
from hermes_common.endpoints import DicomEndpoint, Strategy
from hermes_common.events import TargetDown, TargetEndpointDown, TargetEndpointUp, TargetUp
from hermes_common.records import DeliveryState, EndpointRecord, Places, TargetRecord
from hermes_common.runtime import bus as bus_module
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_dispatcher.adapters import places as places_module
from hermes_dispatcher.adapters.places import PlacesAt

from .conftest import QUICK, free_port
from .test_dispatcher_breaker import said
from .test_dispatcher_faults import slow
from .test_dispatcher_fencing import sent, start

pytestmark = pytest.mark.servers


def over(*ports: int, **more: Any) -> config.DicomTarget:
    """A target with an endpoint at each port."""
    first, *others = ports
    endpoints = tuple(DicomEndpoint(host="127.0.0.1", port=port, called_aet="SCP") for port in others)
    fields = {"retry": QUICK, "concurrency": 1, "response_timeout": timedelta(seconds=2)} | more
    return config.DicomTarget(
        slug="pacs", name="p", host="127.0.0.1", port=first, called_aet="SCP", endpoints=endpoints, **fields
    )


async def endpoints_of(place: Any, *deliveries: str) -> list[str]:
    """Return where each attempt of the deliveries went: the port."""
    said = [event for delivery in deliveries for event in await place.said(delivery, "started")]
    return [event.endpoint.rpartition(":")[2] for event in said]


async def until_gone(place: Any, key: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while await place.bus.load(subjects.STATE, key, EndpointRecord) is not None:
        assert time.monotonic() < deadline, f"{key} is still there"
        await asyncio.sleep(0.1)


async def test_failover_leaves_out_what_is_down_costs_no_try_and_goes_back(place, scp) -> None:
    port = free_port()
    second = scp()
    target = over(port, second.port)
    await place.targets(target)
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        delivery = await place.delivery("pacs", [place.instance(1)])
        record = await place.until(delivery, DeliveryState.SUCCEEDED)
        assert record.tries == 1
        *before, last = await endpoints_of(place, delivery)
        assert last == str(second.port)
        assert set(before) == {str(port)}  # each of the two may have tried it before it knew
        assert "is down" in (await place.said(delivery, "waiting"))[0].reason
        assert await place.bus.load(subjects.STATE, subjects.target_state("pacs"), TargetRecord) is None
        first = scp(port=port)
        await until_gone(place, subjects.endpoint_state("pacs", target.all_endpoints()[0].token))
        down, up = await said(place, 2)
        for number in range(2, 40):  # the other dispatcher may not have looked yet
            again = await place.delivery("pacs", [place.instance(number)])
            await place.until(again, DeliveryState.SUCCEEDED)
            if first.received:
                break
            await asyncio.sleep(0.2)
        assert await endpoints_of(place, again) == [str(port)]
    assert isinstance(down, TargetEndpointDown)
    assert isinstance(up, TargetEndpointUp)
    assert (down.endpoint, up.outage) == (f"SCP@127.0.0.1:{port}", down.outage)
    assert len(first.stored()) == 1


async def test_a_target_is_down_when_all_its_endpoints_are_and_up_with_the_first_of_them(place, scp) -> None:
    ports = free_port(), free_port()
    await place.targets(over(*ports, strategy=Strategy.ROUND_ROBIN))
    delivery = await place.delivery("pacs", [place.instance(1)])
    async with place.dispatcher():
        record = await place.down("pacs")
        assert all(f"SCP@127.0.0.1:{port}" in record.reason for port in ports)
        assert (await place.record(delivery)).tries == 0
        scp(port=ports[1])
        await place.until(delivery, DeliveryState.SUCCEEDED)
        events = await said(place, 5)
    kinds = Counter(type(event) for event in events)
    assert (kinds[TargetEndpointDown], kinds[TargetEndpointUp], kinds[TargetDown], kinds[TargetUp]) == (2, 1, 1, 1)


async def test_an_endpoint_that_was_taken_out_of_the_configuration_is_down_no_longer(place, scp) -> None:
    port, peer = free_port(), scp()
    target = over(port, peer.port)
    await place.targets(target)
    async with place.dispatcher():
        await place.until(await place.delivery("pacs", [place.instance(1)]), DeliveryState.SUCCEEDED)
        key = subjects.endpoint_state("pacs", target.all_endpoints()[0].token)
        assert await place.bus.load(subjects.STATE, key, EndpointRecord) is not None
        await place.targets(over(peer.port))
        await until_gone(place, key)


async def test_turns_are_shared_over_dispatchers_and_a_study_stays_together(place, scp) -> None:
    peers = [scp(slow(0.05)) for _ in range(2)]
    ports = [peer.port for peer in peers]
    await place.targets(over(*ports, strategy=Strategy.ROUND_ROBIN))
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        deliveries = [await place.delivery("pacs", [place.instance(n)]) for n in range(12)]
        for delivery in deliveries:
            await place.until(delivery, DeliveryState.SUCCEEDED)
        counts = Counter(await endpoints_of(place, *deliveries))
        assert all(4 <= counts[str(port)] <= 8 for port in ports)
        await place.targets(over(*ports, strategy=Strategy.STUDY_AFFINITY))
        together = [await place.delivery("pacs", [place.instance(n)]) for n in range(20, 26)]
        for delivery in together:
            await place.until(delivery, DeliveryState.SUCCEEDED)
        assert len(set((await endpoints_of(place, *together))[1:])) == 1  # the first may have met the old revision


class Busiest:
    """Counts how many instances a peer has in hand at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._guard = threading.Lock()

    def __call__(self, number: int, uid: str) -> int:
        with self._guard:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.15)
        with self._guard:
            self.now -= 1
        return 0


async def test_the_limit_of_an_endpoint_holds_over_all_dispatchers(place, scp) -> None:
    first, second = Busiest(), Busiest()
    peers = scp(first), scp(second)
    target = over(peers[0].port, strategy=Strategy.LEAST_BUSY, concurrency=2)
    other = DicomEndpoint(host="127.0.0.1", port=peers[1].port, called_aet="SCP", concurrency=1)
    await place.targets(target.model_copy(update={"endpoints": (other,)}))
    deliveries = [await place.delivery("pacs", [place.instance(n)]) for n in range(14)]
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"), place.dispatcher("dispatcher@c"):
        for delivery in deliveries:
            await place.until(delivery, DeliveryState.SUCCEEDED, seconds=30)
    assert first.most == 2
    assert second.most == 1
    assert peers[1].received


async def test_the_place_of_a_killed_dispatcher_lapses_and_others_go_on(place, scp) -> None:
    place.lease = timedelta(seconds=2)
    peer = scp(slow(0.1))
    await place.targets(peer.target(concurrency=1))
    long = await place.delivery("pacs", [place.instance(n) for n in range(100)])
    process = await start(place)
    await sent(peer, 3)
    process.kill()
    await process.wait()
    found = await place.bus.load(subjects.STATE, subjects.target_places("pacs"), Places)
    assert found is not None
    assert len(found[0].holders) == 1
    urgent = await place.delivery("pacs", [place.instance(200)], priority=config.Priority.URGENT)
    async with place.dispatcher("dispatcher@b"):
        await place.until(urgent, DeliveryState.SUCCEEDED, seconds=20)
        await place.command(long, "cancel")
        await place.until(long, DeliveryState.CANCELLED)


async def test_a_place_that_was_given_to_others_is_lost_to_whoever_comes_back(bus) -> None:
    lease = timedelta(seconds=0.5)
    stopped, other = PlacesAt(bus, "pacs", lease), PlacesAt(bus, "pacs", timedelta(seconds=30))
    place = await stopped.take("a", 1)
    assert place is not None
    assert place.is_held
    assert await other.take("b", 1) is None
    deadline = time.monotonic() + 10
    while await other.take("b", 1) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert not place.is_held
    await stopped.renew([place])
    assert not place.is_held
    found = await bus.load(subjects.STATE, subjects.target_places("pacs"), Places)
    assert set(found[0].holders) == {"b"}


async def test_a_place_that_lapsed_and_nobody_wanted_is_held_again(bus) -> None:
    places = PlacesAt(bus, "pacs", timedelta(seconds=0.2))
    place = await places.take("a", 1)
    assert place is not None
    await asyncio.sleep(0.3)
    assert not place.is_held
    await places.renew([place])
    assert place.is_held


async def test_a_bandwidth_limit_holds_over_two_dispatchers(place, scp) -> None:
    peer = scp()
    await place.targets(peer.target(concurrency=2, bandwidth=400_000))
    size, number = 150_000, 8
    deliveries = [await place.delivery("pacs", [place.instance(n, size)]) for n in range(number)]
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        began = time.monotonic()
        for delivery in deliveries:
            await place.until(delivery, DeliveryState.SUCCEEDED, seconds=30)
        took = time.monotonic() - began
    # 1.2 MB at 0.4 MB/s are 3 s; each attempt may begin with a burst of a quarter of a second of its share
    assert took >= 1.5
    assert set(peer.stored().values()) == {1}


async def test_a_delivery_to_a_target_that_stays_down_fails_after_its_maximum_age(place) -> None:
    port = free_port()
    await place.targets(over(port, retry={"max_attempts": 3, "delay": "1s", "max_age": "1h"}))
    old = [await place.delivery("pacs", [place.instance(n)], created_at=now() - timedelta(hours=1)) for n in range(2)]
    young = await place.delivery("pacs", [place.instance(5)])
    held = await place.delivery(
        "pacs", [place.instance(6)], created_at=now() - timedelta(hours=2), state=DeliveryState.HELD
    )
    async with place.dispatcher("dispatcher@a"), place.dispatcher("dispatcher@b"):
        await place.down("pacs")
        for delivery in old:
            record = await place.until(delivery, DeliveryState.FAILED)
            assert "given up after 1h" in record.reason
        assert (await place.record(young)).state is DeliveryState.QUEUED
        assert (await place.record(held)).state is DeliveryState.HELD
        # one that was tried before has a timer of its own
        tried = await place.delivery("pacs", [place.instance(7)], created_at=now() - timedelta(hours=1), attempt=3)
        await place.bus.arm(subjects.delivery_timer(tried), subjects.delivery_due(tried), now())
        await place.until(tried, DeliveryState.FAILED)
    assert [len(await place.said(delivery, "failed")) for delivery in [*old, tried]] == [1, 1, 1]


async def test_a_dispatcher_whose_clock_is_ahead_clears_no_place_of_another_one(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = timedelta(seconds=30)
    place = await PlacesAt(bus, "pacs", lease).take("a", 1)
    assert place is not None
    monkeypatch.setattr(places_module, "now", lambda: now() + timedelta(hours=1), raising=False)
    monkeypatch.setattr(bus_module, "now", lambda: now() + timedelta(hours=1))
    other = PlacesAt(bus, "pacs", lease)
    assert await other.take("b", 1) is None
    assert await other.take("b", 2) is not None
    await PlacesAt(bus, "pacs", lease).renew([place])
    assert place.is_held


async def test_a_place_that_somebody_took_while_the_clock_of_the_bus_was_ahead_lapses_all_the_same(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "_LONGEST", timedelta(seconds=1))
    dead = Places(target="pacs", holders={"dead": now() + timedelta(days=3650)})
    await bus.create(subjects.STATE, subjects.target_places("pacs"), dead)
    places = PlacesAt(bus, "pacs", timedelta(seconds=1))
    assert await places.take("a", 2) is not None
    deadline = time.monotonic() + 20
    while await places.take("b", 1) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
