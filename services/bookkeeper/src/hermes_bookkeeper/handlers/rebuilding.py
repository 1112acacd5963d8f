"""The tables made again from what was said: the former events, the stream, and the live records (ADR-0021)."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hermes_bookkeeper.core import restoring
from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.facts import Fact, read
from hermes_bookkeeper.errors import RefusedError
from hermes_common.events import MalformedEventError
from hermes_common.records import DeliveryRecord, SeriesRecord
from hermes_common.runtime.bus import StoredMessage


class Books(Protocol):
    """The tables that are made, and those that were set aside."""

    async def record(self, facts: Sequence[Fact]) -> list[Say]:
        """Take facts down in one transaction, each once however often it comes."""
        ...

    def former_events(self, size: int) -> AsyncIterator[list[Fact]]:
        """Yield the events of the tables that were set aside, in the order of the stream."""
        ...

    async def known(self, ids: list[str]) -> set[str]:
        """Return those of the ids that are recorded."""
        ...

    async def carry(self) -> dict[str, int]:
        """Take over the rows that no event speaks of, and return how many of each table."""
        ...


class Source(Protocol):
    """The bus, as far as a rebuild needs it."""

    def stream(self) -> AsyncIterator[StoredMessage]:
        """Yield every message of the stream of events, in its order."""
        ...

    def series(self) -> AsyncIterator[SeriesRecord]:
        """Yield the live records of series."""
        ...

    def deliveries(self) -> AsyncIterator[DeliveryRecord]:
        """Yield the live records of deliveries."""
        ...


@dataclass(slots=True)
class Rebuilt:
    """What the tables were made of."""

    former: int = 0
    stream: int = 0
    records: int = 0
    carried: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """What is no event or was refused, each with the reason: it was parked when it first came."""


async def rebuild(books: Books, source: Source, size: int, say: Callable[[str], None]) -> Rebuilt:
    """Fill the tables, batches of ``size`` at a time. Doing it again, also half done, comes to the same."""
    done = Rebuilt()
    async for facts in books.former_events(size):
        await _record(books, facts, done)
        done.former += len(facts)
        _progress(say, "former events", done.former, facts[-1].time)
    batch: list[Fact] = []
    async for message in source.stream():
        try:
            batch.append(read(message.subject, message.headers, message.data, message.sequence))
        except MalformedEventError as error:
            done.left_out.append(f"message {message.sequence}: {error}")
        if len(batch) >= size:
            await _record(books, batch, done)
            done.stream += len(batch)
            _progress(say, "events of the stream", done.stream, batch[-1].time)
            batch = []
    await _record(books, batch, done)
    done.stream += len(batch)
    await _records(books, source, size, done)
    done.carried = await books.carry()
    return done


async def _records(books: Books, source: Source, size: int, done: Rebuilt) -> None:
    """Take down what only the live records know."""
    places: dict[str, int] = {}
    targets: dict[str, str] = {}
    deliveries = [record async for record in source.deliveries()]
    targets |= {record.delivery_id: record.target for record in deliveries}
    batch: list[Fact] = []
    async for series in source.series():
        places |= {key: item.through_seq + 2 for item in series.batches for key in item.deliveries}
        batch += restoring.series_facts(series, targets)
        if len(batch) >= size:
            batch = await _unknown(books, batch, done)
    for delivery in deliveries:
        batch += restoring.delivery_facts(delivery, places.get(delivery.delivery_id, 1))
        if len(batch) >= size:
            batch = await _unknown(books, batch, done)
    await _unknown(books, batch, done)


async def _unknown(books: Books, facts: Sequence[Fact], done: Rebuilt) -> list[Fact]:
    new = restoring.unknown(facts, await books.known([fact.id for fact in facts]))
    await _record(books, new, done)
    done.records += len(new)
    return []


async def _record(books: Books, facts: Sequence[Fact], done: Rebuilt) -> None:
    if not facts:
        return
    try:
        await books.record(facts)
    except RefusedError as error:
        if len(facts) == 1:
            done.left_out.append(f"event {facts[0].id}: {error}")
            return
        for fact in facts:
            await _record(books, [fact], done)


def _progress(say: Callable[[str], None], what: str, count: int, at: datetime) -> None:
    say(f"{count:,} {what}, up to {at:%Y-%m-%d %H:%M:%S}")
