"""Batches of messages, several in hand: what is acknowledged, and when, whatever becomes of the batch beside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from hermes_common import subjects
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.consumer import Consumer, ConsumerLoop, Done, Message, Outcome

pytestmark = pytest.mark.servers

CONSUMER = Consumer(subjects.EVENTS, "batches", ("hermes.v1.user.logged_in",), timedelta(seconds=15), max_attempts=1)
SIZE = 4


class Hands:
    """A handler whose batches end when they are told to; what a batch holds is known by its first message."""

    def __init__(self) -> None:
        self.begun: list[list[bytes]] = []
        self.done: list[bytes] = []
        self._may_end: dict[bytes, asyncio.Event] = {}
        self._poison: set[bytes] = set()
        self.changed = asyncio.Event()

    def gate(self, first: bytes) -> asyncio.Event:
        return self._may_end.setdefault(first, asyncio.Event())

    def refuse(self, body: bytes) -> None:
        self._poison.add(body)

    async def handle(self, messages: Sequence[Message]) -> list[Outcome]:
        bodies = [message.data for message in messages]
        self.begun.append(bodies)
        self.changed.set()
        await self.gate(bodies[0]).wait()
        if bad := self._poison.intersection(bodies):
            raise ValueError(f"{bad} cannot be taken")
        self.done += bodies
        self.changed.set()
        return [Done() for _ in messages]


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], hands: Hands) -> None:
    async with asyncio.timeout(20):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            hands.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hands.changed.wait(), 0.1)


@contextlib.asynccontextmanager
async def at_work(bus: Bus, hands: Hands, at_once: int = 2) -> AsyncIterator[asyncio.Task[None]]:
    stopping = asyncio.Event()
    task = asyncio.create_task(ConsumerLoop(bus, CONSUMER, stopping).batches(hands.handle, SIZE, at_once))
    try:
        yield task
    finally:
        stopping.set()
        with contextlib.suppress(ValueError):
            await asyncio.wait_for(task, 20)


async def said(bus: Bus, count: int) -> list[bytes]:
    bodies = [str(number).encode() for number in range(count)]
    for body in bodies:
        await bus.send(CONSUMER.subjects[0], body, {})
    return bodies


async def left(bus: Bus) -> int:
    info = await bus.js.consumer_info(CONSUMER.stream, CONSUMER.durable)
    return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


async def test_two_batches_are_in_hand_and_never_three_and_the_one_that_ends_first_is_acknowledged(bus: Bus) -> None:
    bodies, hands = await said(bus, 3 * SIZE), Hands()
    async with at_work(bus, hands):
        await until(lambda: len(hands.begun) == 2, hands)
        for _ in range(5):
            assert await left(bus) == 3 * SIZE  # over the same connection, on which a third would have come before
        assert hands.begun == [bodies[:SIZE], bodies[SIZE : 2 * SIZE]]
        hands.gate(bodies[SIZE]).set()
        await until(lambda: len(hands.begun) == 3, hands)
        assert hands.done == bodies[SIZE : 2 * SIZE], "the third begins when one of two has ended, and not before"

        async def only_the_second_is_done() -> bool:
            return await left(bus) == 2 * SIZE

        await until(only_the_second_is_done, hands)
        for body in bodies:
            hands.gate(body).set()
        await until(lambda: len(hands.done) == 3 * SIZE, hands)

        async def all_is_done() -> bool:
            return await left(bus) == 0

        await until(all_is_done, hands)
    assert sorted(hands.done) == sorted(bodies), "each once"


async def test_of_a_batch_that_fails_between_two_good_ones_only_the_message_that_is_to_blame_is_parked(
    bus: Bus,
) -> None:
    bodies, hands = await said(bus, 3 * SIZE), Hands()
    hands.refuse(bodies[SIZE + 1])
    for body in bodies:
        hands.gate(body).set()
    async with at_work(bus, hands):

        async def parked() -> bool:
            info = await bus.js.stream_info(subjects.PARKED)
            return info.state.messages == 1 and await left(bus) == 0

        await until(parked, hands)
    assert sorted(hands.done) == sorted(set(bodies) - {bodies[SIZE + 1]}), "each once, but the one"
    kept = [message async for message in bus.read(subjects.PARKED, "hermes.parked.batches", 0)]
    assert [message.data for message in kept] == [bodies[SIZE + 1]]


async def test_an_error_of_ours_ends_the_loop_and_the_batch_beside_and_both_come_again(bus: Bus) -> None:
    bodies, hands = await said(bus, 2 * SIZE), Hands()

    async def wrong(messages: Sequence[Message]) -> list[Outcome]:
        outcomes = await hands.handle(messages)
        return outcomes[:-1] if len(hands.done) == SIZE else outcomes  # fewer than there are messages

    stopping = asyncio.Event()
    task = asyncio.create_task(ConsumerLoop(bus, CONSUMER, stopping).batches(wrong, SIZE, 2))
    await until(lambda: len(hands.begun) == 2, hands)
    hands.gate(bodies[0]).set()
    with pytest.raises(ValueError, match="shorter"):
        await asyncio.wait_for(task, 20)
    assert hands.done == bodies[:SIZE], "the other one was ended"
    assert await left(bus) >= SIZE + 1, "nothing of it was acknowledged"


async def test_what_is_in_hand_when_it_is_told_to_stop_is_done_before_it_returns(bus: Bus) -> None:
    bodies, hands = await said(bus, 3 * SIZE), Hands()
    stopping = asyncio.Event()
    task = asyncio.create_task(ConsumerLoop(bus, CONSUMER, stopping).batches(hands.handle, SIZE, 2))
    await until(lambda: len(hands.begun) == 2, hands)
    stopping.set()
    for body in bodies:
        hands.gate(body).set()
    await asyncio.wait_for(task, 20)
    assert hands.done == bodies[: 2 * SIZE]

    async def the_third_is_left() -> bool:
        return await left(bus) == SIZE

    await until(the_third_is_left, hands)
