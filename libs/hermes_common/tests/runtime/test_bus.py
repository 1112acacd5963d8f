"""The bus on a real server: what it promises, and what it does when the server does not play along."""

import asyncio
import itertools
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from hermes_common import subjects
from hermes_common.config import Kind, Policies, Retention, Revision
from hermes_common.events import MessageParked, UserLoggedIn, decode
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, ConsumerLoop, Done, Message, Outcome, RetryAfter
from hermes_common.runtime.errors import BusLostError, BusUnavailableError, ConflictError, MessageTooLargeError
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.process import Process
from hermes_local.servers.testing import nats_server

pytestmark = pytest.mark.servers

EVENT = UserLoggedIn(user="anna", actor="anna")


async def run_until(bus: Bus, consumer: Consumer, handler, done) -> None:
    """Run a consumer loop until ``done()`` is true."""
    stopping = asyncio.Event()
    loop = asyncio.create_task(ConsumerLoop(bus, consumer, stopping).each(handler, 4))
    async with asyncio.timeout(20):
        while not await done():
            await asyncio.sleep(0.05)
    stopping.set()
    await loop


async def parked(bus: Bus) -> list[MessageParked]:
    messages = [m async for m in bus.read(subjects.EVENTS, "hermes.v1.message.parked", 0)]
    return [event for m in messages if isinstance(event := decode(m.headers, m.data).event, MessageParked)]


async def test_an_event_said_twice_under_one_id_is_stored_once(bus: Bus) -> None:
    first = await bus.publish(EVENT, "same")
    assert await bus.publish(EVENT, "same") == first
    assert len([m async for m in bus.read(subjects.EVENTS, "hermes.v1.user.logged_in", 0)]) == 1


async def test_a_bus_with_little_room_gets_every_stream_and_a_smaller_one_for_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sets a bound aside when it makes a stream, and refuses what it cannot."""
    monkeypatch.setattr("hermes_local.servers.nats.store_limit", lambda *_, **__: 300 * 1024**2)
    with nats_server(tmp_path) as running:
        for _ in range(2):  # the second finds them made
            bus = Bus(RuntimeSettings(nats_url=SecretStr(running.url())), "test")
            bus.start()
            await asyncio.wait_for(bus.ready(), 20)
            info = await bus.js.stream_info(subjects.DOCUMENTS)
            assert 16 * 1024**2 <= int(info.config.max_bytes or 0) < 300 * 1024**2
            await bus.publish(EVENT)
            await bus.close()


async def test_a_record_is_changed_only_by_whoever_saw_its_last_revision(bus: Bus) -> None:
    policies = Policies()
    revision = await bus.create(subjects.STATE, "x", policies)
    with pytest.raises(ConflictError):
        await bus.create(subjects.STATE, "x", policies)
    changed = Policies(retention=Retention(delivered=timedelta(days=1)))
    newer = await bus.update(subjects.STATE, "x", changed, revision)
    with pytest.raises(ConflictError):
        await bus.update(subjects.STATE, "x", policies, revision)
    assert await bus.load(subjects.STATE, "x", Policies) == (changed, newer)
    await bus.forget(subjects.STATE, "x", newer)
    assert await bus.load(subjects.STATE, "x", Policies) is None
    assert await bus.create(subjects.STATE, "x", policies) > newer


async def test_reading_back_goes_on_where_the_server_ends_a_batch(bus: Bus) -> None:
    for number in range(25):
        await bus.publish(EVENT, f"id{number}")
    found = [m.sequence async for m in bus.read(subjects.EVENTS, "hermes.v1.user.logged_in", 3, batch=10)]
    assert found == list(range(4, 26))


async def test_a_message_that_is_too_large_is_refused_here_and_the_connection_stays(bus: Bus) -> None:
    largest = bus.nc.max_payload
    with pytest.raises(MessageTooLargeError):
        await bus.send("hermes.v1.user.logged_in", b"x" * (largest - 10), {"ce-id": "a" * 100})
    await bus.publish(EVENT)


async def test_a_connection_that_is_closed_for_good_is_noticed(bus: Bus) -> None:
    watch = asyncio.create_task(bus.watch())
    await bus.nc.close()
    with pytest.raises(BusLostError):
        await asyncio.wait_for(watch, 5)


async def test_a_timer_that_is_armed_again_fires_once_at_the_last_time(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(message: Message) -> Outcome:
        seen.append(message.subject)
        return Done()

    async def fired() -> bool:
        return bool(seen)

    for seconds in (0.2, 5.0, 1.0):
        await bus.arm("hermes.timer.series.1-2", "hermes.due.series.1-2", now() + timedelta(seconds=seconds))
    began = asyncio.get_running_loop().time()
    await run_until(bus, Consumer(subjects.TIMERS, "t", ("hermes.due.series.*",)), handler, fired)
    assert 0.8 < asyncio.get_running_loop().time() - began < 4
    assert seen == ["hermes.due.series.1-2"]


@pytest.mark.parametrize("stream", ["timers", "work"])
async def test_what_can_never_be_worked_on_is_parked_with_its_reason_and_what_is_behind_it_goes_on(
    bus: Bus, stream: str
) -> None:
    worked: list[str] = []

    async def handler(message: Message) -> Outcome:
        if message.subject.endswith("bad"):
            raise ValueError("it makes no sense")
        worked.append(message.subject)
        return Done()

    async def settled() -> bool:
        return bool(worked) and bool(await parked(bus))

    if stream == "timers":
        for token in ("bad", "good"):
            await bus.arm(f"hermes.timer.series.{token}", f"hermes.due.series.{token}", now())
        consumer = Consumer(subjects.TIMERS, "t", ("hermes.due.series.*",), max_attempts=2)
    else:
        for token in ("bad", "good"):
            await bus.send(f"hermes.work.delivery.{token}", b"the whole content")
        consumer = Consumer(subjects.WORK, "t", ("hermes.work.delivery.*",), max_attempts=2)
    await run_until(bus, consumer, handler, settled)
    [event] = await parked(bus)
    assert (event.consumer, event.reason) == ("t", "ValueError: it makes no sense")
    [message] = [m async for m in bus.read(subjects.PARKED, "hermes.parked.t", 0)]
    assert message.headers["Hermes-Subject"] == event.original_subject
    assert message.data


async def test_waiting_for_something_does_not_count_against_a_message(bus: Bus) -> None:
    answers: list[object] = [
        *[RetryAfter(timedelta(milliseconds=50), "not yet")] * 4,
        BusUnavailableError("away"),
        ValueError("once"),
        Done(),
    ]

    async def handler(_: Message) -> Outcome:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Done | RetryAfter)
        return answer

    async def done() -> bool:
        return not answers

    await bus.send("hermes.work.delivery.a", b"{}")
    await run_until(bus, Consumer(subjects.WORK, "t", ("hermes.work.delivery.*",), max_attempts=2), handler, done)
    assert await parked(bus) == []


async def test_what_waited_long_for_something_that_is_away_comes_within_seconds_of_its_return(bus: Bus) -> None:
    came: list[float] = []

    async def handler(message: Message) -> Outcome:
        came.append(time.monotonic())
        if len(came) < 6:
            raise BusUnavailableError("away")
        return Done()

    async def done() -> bool:
        return len(came) == 6

    await bus.send("hermes.work.delivery.a", b"{}")
    await run_until(bus, Consumer(subjects.WORK, "t", ("hermes.work.delivery.*",)), handler, done)
    pauses = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert pauses[-1] < 7  # the fifth; it would be 8 s if they went on doubling
    assert pauses[-1] > pauses[0]


async def test_a_document_that_cannot_be_read_is_not_taken_for_one_that_nobody_saved(bus: Bus) -> None:
    newer = Revision(kind=Kind.POLICIES, revision=3, author="x", time=now(), document={"of_a_later_release": 1})
    await bus.send(f"$KV.{subjects.CONFIG}.policies", newer.model_dump_json().encode())
    view = ConfigView(bus)
    await view.refresh()
    assert not view.loaded.is_set()
    assert view.is_unknown(Kind.POLICIES)
    assert "revision 3 of the policies cannot be read" in str(view.problem())
    good = newer.model_copy(update={"revision": 4, "document": {"retention": {"delivered": "90d"}}})
    await bus.send(f"$KV.{subjects.CONFIG}.policies", good.model_dump_json().encode())
    await view.refresh()
    assert view.loaded.is_set()
    bad = newer.model_copy(update={"revision": 5})
    await bus.send(f"$KV.{subjects.CONFIG}.policies", bad.model_dump_json().encode())
    await view.refresh()
    assert view.policies.retention.delivered == timedelta(days=90)
    assert view.problem() is not None


async def test_a_change_arrives_at_once_after_the_bus_was_killed(tmp_path: Path) -> None:
    """What watches the bucket for a service is in the memory of the server, and goes with it."""

    async def save_and_see(revision: int) -> None:
        saved = Revision(kind=Kind.POLICIES, revision=revision, author="x", time=now(), document={})
        await bus.send(f"$KV.{subjects.CONFIG}.policies", saved.model_dump_json().encode())
        async with asyncio.timeout(2):  # one second is promised; unheard, it would be found after ten
            while view.revision(Kind.POLICIES).revision != revision:
                await asyncio.sleep(0.01)

    with nats_server(tmp_path) as running:
        process = running.process
        bus = Bus(RuntimeSettings(nats_url=SecretStr(running.url())), "test")
        bus.start()
        await asyncio.wait_for(bus.ready(), 10)
        view = ConfigView(bus)
        following = asyncio.create_task(view.run())
        try:
            await asyncio.wait_for(view.loaded.wait(), 10)
            await save_and_see(1)
            for revision in (2, 3):
                before = bus.connection
                process.kill()
                process = Process(running.server.program())
                process.wait_ready()
                async with asyncio.timeout(20):
                    while bus.connection == before or bus.problem() is not None:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(1)  # nobody sees sooner that it is back, and saves
                await save_and_see(revision)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await bus.close()
            process.kill()


async def test_the_streams_are_made_again_when_the_bus_comes_back_without_them(tmp_path: Path) -> None:
    with nats_server(tmp_path) as running:
        bus = Bus(RuntimeSettings(nats_url=SecretStr(running.url())), "test")
        bus.start()
        await asyncio.wait_for(bus.ready(), 10)
        for stream in await bus.js.streams_info():
            await bus.js.delete_stream(str(stream.config.name))
        with pytest.raises(BusUnavailableError):
            await bus.load(subjects.STATE, new_id(), Policies)
        await bus._on_reconnected()
        async with asyncio.timeout(10):
            while await bus.nc.request("$JS.API.STREAM.NAMES", b"", timeout=2) is None or not await _has_state(bus):
                await asyncio.sleep(0.05)
        assert await bus.load(subjects.STATE, "nothing", Policies) is None
        await bus.close()


async def test_a_bus_that_stays_away_is_complained_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with nats_server(tmp_path) as running:
        bus = Bus(RuntimeSettings(nats_url=SecretStr(running.url())), "test")
        bus.start()
        await asyncio.wait_for(bus.ready(), 10)
        running.process.kill()
        async with asyncio.timeout(15):
            while not any(line.startswith("bus: ") for line in caplog.messages):
                await asyncio.sleep(0.05)
        await asyncio.sleep(3)  # the client has tried again three times by now
        said = [line for line in caplog.messages if line.startswith("bus: ")]
        assert len(said) == len(set(said)) >= 1
        await bus.close()


async def _has_state(bus: Bus) -> bool:
    return f"KV_{subjects.STATE}" in {str(each.config.name) for each in await bus.js.streams_info()}


async def test_the_records_of_a_bucket_are_scanned_as_they_are_now(bus: Bus) -> None:
    assert [each async for each in bus.scan(subjects.STATE, "series.*")] == []
    for number in range(7):
        await bus.send(f"$KV.{subjects.STATE}.series.{number}", b"old")
        await bus.send(f"$KV.{subjects.STATE}.series.{number}", str(number).encode())
    await bus.send(f"$KV.{subjects.STATE}.study.1", b"x")
    third = await bus.last_sequence(f"KV_{subjects.STATE}", "$KV.hermes_state.series.3")
    await bus.forget(subjects.STATE, "series.3", third)
    found = {key: (value, revision) async for key, value, revision in bus.scan(subjects.STATE, "series.*", batch=2)}
    assert {key: value for key, (value, _) in found.items()} == {
        f"series.{number}": str(number).encode() for number in (0, 1, 2, 4, 5, 6)
    }
    assert found["series.6"][1] == await bus.last_sequence(f"KV_{subjects.STATE}", "$KV.hermes_state.series.6")
