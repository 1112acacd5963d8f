"""A batch of messages becomes history: read, record in one transaction, say what follows, and only then be done."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.facts import Fact, read
from hermes_bookkeeper.core.news import news_of
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_common import subjects
from hermes_common.events import Event, MalformedEventError
from hermes_common.runtime.consumer import Done, Message, Outcome, Park
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.tracing import span

log = logging.getLogger(__name__)


class Ledger(Protocol):
    """Where facts are taken down."""

    async def record(self, facts: Sequence[Fact]) -> list[Say]:
        """Take facts down in one transaction, each once however often it comes; return the alerts to say."""
        ...


class Publisher(Protocol):
    """The bus, as far as this handler needs it."""

    async def publish(self, event: Event, event_id: str | None = None) -> int:
        """Publish an event durably."""
        ...

    async def tell(self, subject: str, body: bytes) -> None:
        """Tell whoever listens now; never raises for a bus that is away."""
        ...


class Recorder:
    """The handler of the stream of events."""

    def __init__(self, ledger: Ledger, publisher: Publisher, stopping: asyncio.Event) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._stopping = stopping

    async def handle(self, messages: Sequence[Message]) -> list[Outcome]:
        """Return the outcome of each message. What is no event is parked; so is what the database refuses, alone.

        Raises :class:`RefusedError` for a batch of several, which the consumer loop then hands over one by one, and
        lets ``TransientError`` out while the bus is away, or where the service ends while the database is.
        """
        outcomes: list[Outcome] = []
        facts: list[Fact] = []
        for message in messages:
            try:
                facts.append(read(message.subject, message.headers, message.data, message.sequence))
                outcomes.append(Done())
            except MalformedEventError as error:
                outcomes.append(Park(str(error)))
        if not facts:
            return outcomes
        contexts = [message.headers.get("traceparent") for message in messages]
        try:
            with span("bookkeeping", {"events": len(facts)}, links=contexts):
                says = await self._record(facts)
        except RefusedError as error:
            if len(messages) > 1:
                raise
            return [Park(str(error))]
        crash_point("bookkeeper.recorded")
        await self._publisher.tell(subjects.RECORDED, news_of(facts).model_dump_json().encode())
        for say in says:
            await self._publisher.publish(say.event, say.id)
        crash_point("bookkeeper.said")
        return outcomes

    async def _record(self, facts: Sequence[Fact]) -> list[Say]:
        """Record, waiting for the database for as long as it takes: nothing behind these messages could go on either.

        Giving them back would let them come later and later, and the history would not resume with the database.
        """
        for attempt in itertools.count():
            try:
                return await self._ledger.record(facts)
            except DatabaseUnavailableError as error:
                if self._stopping.is_set():
                    raise
                log.warning("%d events wait for the database: %s", len(facts), error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), database_backoff(attempt).total_seconds())
        raise AssertionError("the count does not end")


def database_backoff(attempt: int) -> timedelta:
    """Return how long to wait before trying the database again: 0.25 s doubling up to 4 s."""
    return timedelta(seconds=min(4.0, 0.25 * 2 ** min(attempt, 10)))
