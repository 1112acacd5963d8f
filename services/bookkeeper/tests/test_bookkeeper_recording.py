"""The handler: what becomes of messages while the database or the bus is away."""

import asyncio

import pytest

from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError
from hermes_bookkeeper.handlers.recording import Recorder, database_backoff
from hermes_common.events import AlertRaised
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

    async def publish(self, event, event_id=None):
        if self.away:
            self.away -= 1
            raise BusUnavailableError("away")
        self.ids.append(event_id)
        return 1


async def test_an_alert_that_could_not_be_said_is_said_when_the_messages_come_again(stream):
    publisher = MemoryPublisher(away=1)
    recorder = Recorder(MemoryLedger(), publisher, asyncio.Event())
    messages = [stream.stored("1.1", 1)]
    with pytest.raises(BusUnavailableError):
        await recorder.handle(messages)
    assert await recorder.handle(messages) == [Done()]
    assert publisher.ids == ["said-1"]


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
