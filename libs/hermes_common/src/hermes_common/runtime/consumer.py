"""The consumer loop: the only place that acknowledges.

A handler decides what becomes of a message: :class:`Done`, :class:`RetryAfter` or :class:`Park`. An error that it lets
out is retried: for ever where something outside is away (:class:`TransientError`, :class:`ConflictError`), and a
bounded number of times otherwise; then the message is parked with its reason, and those behind it go on.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from prometheus_client import Counter

from hermes_common.events import MessageParked
from hermes_common.ids import derived_id
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError, ConflictError, MessageTooLargeError, TransientError
from hermes_common.runtime.tracing import within

log = logging.getLogger(__name__)

MESSAGES = Counter("hermes_messages_total", "Messages handled, by consumer and outcome", ["consumer", "outcome"])

_FETCH = 2.0
_REMEMBERED = 10_000
_ERROR_MOST: Final = timedelta(seconds=30)
_AWAY_MOST: Final = timedelta(seconds=5)
"""Longest wait while something is away: work goes on within ten seconds of its return, however long it was."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a stream. ``attempt`` counts its deliveries to us, from 1."""

    subject: str
    headers: Mapping[str, str]
    data: bytes
    sequence: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Done:
    """The message has had its effect."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The message is to come again after a while; this does not count against it."""

    delay: timedelta
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """The message can never have its effect: put it aside with the reason."""

    reason: str


Outcome = Done | RetryAfter | Park
Handler = Callable[[Message], Awaitable[Outcome]]
BatchHandler = Callable[[Sequence[Message]], Awaitable[Sequence[Outcome]]]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A durable consumer, shared by all instances of a service."""

    stream: str
    durable: str
    subjects: tuple[str, ...]
    ack_wait: timedelta = timedelta(seconds=15)
    """How long what a killed process had in hand waits for another one. While a process lives it says so, in thirds."""
    max_ack_pending: int = 1000
    max_attempts: int = 8
    """Unexpected errors before a message is parked."""


def retry_delay(attempt: int, longest: timedelta = _ERROR_MOST) -> timedelta:
    """Return how long to wait before a message comes again after an error: 0.5 s doubling up to ``longest``."""
    return min(longest, timedelta(seconds=0.5 * 2 ** min(attempt - 1, 10)))


class ConsumerLoop:
    """Fetches, hands over, acknowledges, until it is stopped."""

    def __init__(self, bus: Bus, consumer: Consumer, stopping: asyncio.Event) -> None:
        self._bus = bus
        self._consumer = consumer
        self._stopping = stopping
        self._subscription: Any = None
        self._errors: OrderedDict[int, int] = OrderedDict()

    async def each(self, handler: Handler, concurrency: int = 1) -> None:
        """Hand over messages one by one, up to ``concurrency`` at a time; return after the last when stopped."""
        slots = asyncio.Semaphore(concurrency)
        tasks: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            await slots.acquire()
            slots.release()
            free = concurrency - len(tasks)
            for raw in await self._fetch(max(1, free)):
                await slots.acquire()
                task = asyncio.create_task(self._one(handler, raw))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                task.add_done_callback(lambda _: slots.release())
        if tasks:
            await asyncio.wait(tasks)

    async def batches(self, handler: BatchHandler, size: int, at_once: int = 1) -> None:
        """Hand over messages in batches of up to ``size``, ``at_once`` of them at a time; return after the last.

        An error of a batch that is nobody's to judge ends the loop, and the batches beside it.
        """
        tasks: set[asyncio.Task[None]] = set()
        try:
            while not self._stopping.is_set():
                raws = await self._fetch(size)
                if raws:
                    tasks.add(asyncio.create_task(self._worked(handler, raws)))
                if tasks:
                    full = len(tasks) >= at_once
                    tasks = await _unfinished(tasks, None if full else 0)
            while tasks:
                tasks = await _unfinished(tasks, None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _worked(self, handler: BatchHandler, raws: list[Msg]) -> None:
        async with self._working(raws):
            await self._batch(handler, raws)

    # -- one message

    async def _one(self, handler: Handler, raw: Msg) -> None:
        message = _message(raw)
        with within(message.headers.get("traceparent")):
            async with self._working([raw]):
                try:
                    outcome = await handler(message)
                except Exception as error:  # noqa: BLE001  # whatever it is, the message must not be lost with it
                    outcome = self._judge(message, error)
                await self._settle(raw, message, outcome)

    async def _batch(self, handler: BatchHandler, raws: list[Msg]) -> None:
        messages = [_message(raw) for raw in raws]
        try:
            outcomes = list(await handler(messages))
        except Exception as error:  # noqa: BLE001  # as above
            if len(messages) > 1 and not isinstance(error, TransientError):
                for raw in raws:
                    await self._batch(handler, [raw])
                return
            outcomes = [self._judge(message, error) for message in messages]
        for raw, message, outcome in zip(raws, messages, outcomes, strict=True):
            await self._settle(raw, message, outcome)

    def _judge(self, message: Message, error: Exception) -> Outcome:
        name = self._consumer.durable
        if isinstance(error, TransientError | ConflictError):
            log.warning("%s: %s; trying again", name, error)
            return RetryAfter(retry_delay(message.attempt, _AWAY_MOST), str(error))
        log.error("%s: message %d on %s failed", name, message.sequence, message.subject, exc_info=error)
        errors = self._errors.pop(message.sequence, 0) + 1
        if errors >= self._consumer.max_attempts:
            return Park(f"{type(error).__name__}: {error}")
        self._errors[message.sequence] = errors
        if len(self._errors) > _REMEMBERED:
            self._errors.popitem(last=False)
        return RetryAfter(retry_delay(errors), str(error))

    async def _settle(self, raw: Msg, message: Message, outcome: Outcome) -> None:
        MESSAGES.labels(self._consumer.durable, type(outcome).__name__.lower()).inc()
        with contextlib.suppress(nats.errors.Error, OSError):
            match outcome:
                case Done():
                    await raw.ack()
                case RetryAfter(delay=delay):
                    await raw.nak(delay=max(0.05, delay.total_seconds()))
                case Park(reason=reason):
                    await self._park(raw, message, reason)

    async def _park(self, raw: Msg, message: Message, reason: str) -> None:
        consumer = self._consumer
        log.error("%s: parking message %d on %s: %s", consumer.durable, message.sequence, message.subject, reason)
        park_id = derived_id("parked", consumer.stream, consumer.durable, str(message.sequence))
        # Headers of the server's own (schedules, expectations) would be taken as instructions again.
        headers = {name: value for name, value in message.headers.items() if not name.lower().startswith("nats-")}
        headers |= {"Nats-Msg-Id": park_id, "Hermes-Subject": message.subject}
        event = MessageParked(
            consumer=consumer.durable,
            original_subject=message.subject,
            stream_sequence=message.sequence,
            reason=reason[:2000],
            attempts=message.attempt,
        )
        try:
            await self._keep_aside(message, headers)
            await self._bus.publish(event, park_id)
        except BusUnavailableError:
            await raw.nak(delay=5)
            return
        await raw.term()

    async def _keep_aside(self, message: Message, headers: dict[str, str]) -> None:
        subject = f"hermes.parked.{self._consumer.durable}"
        try:
            await self._bus.send(subject, message.data, headers)
        except MessageTooLargeError:
            log.error("%s: message %d is too large to be kept with its headers", subject, message.sequence)
            await self._bus.send(subject, message.data[: len(message.data) // 2], headers)

    # -- the stream

    async def _fetch(self, size: int) -> list[Msg]:
        try:
            if self._subscription is None:
                self._subscription = await self._bind()
            return list(await self._subscription.fetch(size, timeout=_FETCH))
        except (TimeoutError, nats.errors.TimeoutError):
            return []
        except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
            log.warning("%s: cannot fetch: %s", self._consumer.durable, str(error) or type(error).__name__)
            await self._unbind()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1)
            return []

    async def _bind(self) -> Any:
        consumer = self._consumer
        await self._bus.js.add_consumer(
            consumer.stream,
            ConsumerConfig(
                durable_name=consumer.durable,
                filter_subject=consumer.subjects[0] if len(consumer.subjects) == 1 else None,
                filter_subjects=list(consumer.subjects) if len(consumer.subjects) > 1 else None,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=consumer.ack_wait.total_seconds(),
                max_ack_pending=consumer.max_ack_pending,
                max_deliver=-1,
            ),
        )
        return await self._bus.js.pull_subscribe_bind(durable=consumer.durable, stream=consumer.stream)

    async def _unbind(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, OSError):
                await self._subscription.unsubscribe()
            self._subscription = None

    @contextlib.asynccontextmanager
    async def _working(self, raws: list[Msg]) -> Any:
        """Keep telling the server that these messages are being worked on."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(self._consumer.ack_wait.total_seconds() / 3)
                for raw in raws:
                    with contextlib.suppress(nats.errors.Error, OSError):
                        if not raw._ackd:  # nats-py has no public way to ask
                            await raw.in_progress()

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _unfinished(tasks: set[asyncio.Task[None]], limit: float | None) -> set[asyncio.Task[None]]:
    """Wait for one of the tasks to end, for so many seconds at most; return the others. Raises what one has raised."""
    done, others = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return others


def _message(raw: Msg) -> Message:
    metadata = raw.metadata
    return Message(
        subject=raw.subject,
        headers=dict(raw.headers or {}),
        data=raw.data,
        sequence=metadata.sequence.stream,
        attempt=metadata.num_delivered or 1,
    )
