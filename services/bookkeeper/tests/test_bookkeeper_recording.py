"""The handler: what becomes of messages while the database or the bus is away."""

import asyncio

import pytest

from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.facts import read
from hermes_bookkeeper.core.news import news_of
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_bookkeeper.handlers.recording import Recorder, database_backoff
from hermes_common import subjects
from hermes_common.events import AlertRaised
from hermes_common.news import MOST_SERIES, Recorded
from hermes_common.runtime.consumer import Done, Message, Park
from hermes_common.runtime.errors import BusUnavailableError

ALERT = Say(AlertRaised(alert_id="a", kind="k", about="x", message="m"), "said-1")


class MemoryLedger:
    """Remembers the facts; raises what it is told to, once each."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.facts = []

    async def record(self, facts):
        if self.troubles:
            raise self.troubles.pop(0)
        self.facts += facts
        return [ALERT]


class MemoryPublisher:
    """Remembers the ids; is away the first times."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.ids = []
        self.told = []

    async def publish(self, event, event_id=None):
        if self.away:
            self.away -= 1
            raise BusUnavailableError("away")
        self.ids.append(event_id)
        return 1

    async def tell(self, subject, body):
        self.told.append((subject, Recorded.model_validate_json(body)))


async def test_an_alert_that_could_not_be_said_is_said_when_the_messages_come_again(stream):
    publisher = MemoryPublisher(away=1)
    recorder = Recorder(MemoryLedger(), publisher, asyncio.Event())
    messages = [stream.stored("1.1", 1)]
    with pytest.raises(BusUnavailableError):
        await recorder.handle(messages)
    assert await recorder.handle(messages) == [Done()]
    assert publisher.ids == ["said-1"]


async def test_what_was_recorded_is_told_after_the_commit_and_not_without_one(stream):
    publisher = MemoryPublisher()
    recorder = Recorder(MemoryLedger(RefusedError("no")), publisher, asyncio.Event())
    messages = [stream.stored("1.1", 1), stream.stored("1.1", 2)]
    with pytest.raises(RefusedError):
        await recorder.handle(messages)
    assert publisher.told == []
    await recorder.handle(messages)
    [(subject, recorded)] = publisher.told
    assert subject == subjects.RECORDED
    assert recorded.instances_only
    assert not recorded.more
    assert len(recorded.series) == 1


def test_more_series_than_a_message_names_are_said_to_be_more(stream):
    facts = [
        read(each.subject, each.headers, each.data, each.sequence)
        for each in (stream.stored(f"1.{number}", 1) for number in range(150))
    ]
    assert not news_of(facts[:100]).more
    recorded = news_of(facts)
    assert recorded.more
    assert len(recorded.series) == MOST_SERIES
    assert recorded.is_about("1.2.3"), "it may be one of those that are not named"
    assert not news_of(facts[:3]).is_about("1.2.3")


async def test_a_batch_waits_for_the_database_and_is_given_back_when_the_service_ends(stream):
    ledger = MemoryLedger(DatabaseUnavailableError("away"))
    stopping = asyncio.Event()
    recorder = Recorder(ledger, MemoryPublisher(), stopping)
    assert await recorder.handle([stream.stored("1.1", 1)]) == [Done()]
    assert len(ledger.facts) == 1
    ledger.troubles = [DatabaseUnavailableError("away")]
    stopping.set()
    with pytest.raises(DatabaseUnavailableError):
        await recorder.handle([stream.stored("1.1", 2)])


async def test_a_refused_batch_is_taken_apart_and_a_refused_message_is_parked(stream):
    ledger = MemoryLedger(RefusedError("no"), RefusedError("no"))
    recorder = Recorder(ledger, MemoryPublisher(), asyncio.Event())
    messages = [stream.stored("1.1", 1), stream.stored("1.1", 2)]
    with pytest.raises(RefusedError):
        await recorder.handle(messages)
    assert await recorder.handle(messages[:1]) == [Park("no")]


async def test_a_message_that_is_no_event_is_parked_and_those_beside_it_are_recorded(stream):
    ledger = MemoryLedger()
    recorder = Recorder(ledger, MemoryPublisher(), asyncio.Event())
    unknown = {"ce-type": "hermes.v1.robot.danced", "ce-id": "x", "ce-time": "yesterday"}
    outcomes = await recorder.handle(
        [
            Message("hermes.v1.x", {}, b"{}", 1, 1),
            stream.stored("1.1", 1),
            Message("hermes.v1.x", unknown, b"{}", 3, 1),
            Message("hermes.v1.x", {**unknown, "ce-id": ""}, b"{}", 4, 1),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Park, Done, Park, Park]
    assert len(ledger.facts) == 1


def test_the_database_is_tried_again_at_least_every_four_seconds():
    assert [database_backoff(attempt).total_seconds() for attempt in (0, 1, 100)] == [0.25, 0.5, 4.0]
