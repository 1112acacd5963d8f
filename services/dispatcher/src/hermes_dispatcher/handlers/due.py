"""A timer of a delivery: its next attempt goes into the queue."""

from datetime import timedelta

from hermes_common import subjects
from hermes_common.records import DeliveryState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome
from hermes_common.runtime.crashpoints import crash_point
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.core import lifecycle
from hermes_dispatcher.handlers.speaking import Speaker

CONSUMER = Consumer(subjects.TIMERS, "dispatcher-due", (subjects.delivery_due("*"),))

_EARLY = timedelta(seconds=2)


class Due:
    """Handles ``hermes.due.delivery.<id>``."""

    def __init__(self, bus: Bus) -> None:
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)

    async def handle(self, message: Message) -> Outcome:
        """Queue a delivery whose waiting is over; a timer that was meant for an earlier wait is armed anew."""
        found = await self._deliveries.load(message.subject.rpartition(".")[2])
        if found is None:
            return Done()
        record, revision = found
        if record.state is DeliveryState.RETRYING:
            if record.next_attempt_at is not None and record.next_attempt_at > now() + _EARLY:
                await self._speaker.standing(record)
                return Done()
            record = lifecycle.due(record, now())
            await self._deliveries.change(record, revision)
            crash_point("dispatcher.due")
        if record.state is DeliveryState.QUEUED:
            await self._speaker.enqueue(record)
            crash_point("dispatcher.queued-again")
        return Done()
