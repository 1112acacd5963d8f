"""A timer of a delivery: its next attempt goes into the queue."""

from hermes_common import subjects
from hermes_common.records import DeliveryRecord, DeliveryState, TargetRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome
from hermes_common.runtime.crashpoints import crash_point
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.core import lifecycle
from hermes_dispatcher.handlers.speaking import Speaker, is_over

CONSUMER = Consumer(subjects.TIMERS, "dispatcher-due", (subjects.delivery_due("*"),))


class Due:
    """Handles ``hermes.due.delivery.<id>``."""

    def __init__(self, bus: Bus, config: ConfigView) -> None:
        self._bus = bus
        self._config = config
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)

    async def handle(self, message: Message) -> Outcome:
        """Queue a delivery whose waiting is over; a timer that was meant for an earlier wait is armed anew.

        One that has waited in the queue since, for longer than its target allows, has failed.
        """
        found = await self._deliveries.load(message.subject.rpartition(".")[2])
        if found is None:
            return Done()
        record, revision = found
        if record.state is DeliveryState.RETRYING:
            if not is_over(message.data, record.next_attempt_at, self._bus.now()):
                await self._speaker.standing(record)
                return Done()
            record = lifecycle.due(record, self._bus.now())
            await self._deliveries.change(record, revision)
            crash_point("dispatcher.due")
        elif record.state is DeliveryState.QUEUED and message.attempt == 1 and await self._is_old(record, revision):
            return Done()  # one that comes again may have been interrupted before it put the work into the queue
        if record.state is DeliveryState.QUEUED:
            await self._await_expiry(record)
            await self._speaker.enqueue(record)
            crash_point("dispatcher.queued-again")
        return Done()

    async def _is_old(self, record: DeliveryRecord, revision: int) -> bool:
        """End a queued delivery that is too old if its target is down; if it is up, its turn will come."""
        await self._config.loaded.wait()
        target = self._config.targets.get(record.target)
        if target is None or not lifecycle.is_too_old(record, target.retry, self._bus.now()):
            return False
        down = await self._bus.load(subjects.STATE, subjects.target_state(record.target), TargetRecord)
        if down is None or down[0].is_up or target.is_paused(self._bus.now()):
            await self._await_expiry(record)
            return True
        failed = lifecycle.failed(record, lifecycle.too_old(target.retry, "the target is down"), self._bus.now())
        await self._deliveries.change(failed, revision)
        await self._speaker.standing(failed)
        return True

    async def _await_expiry(self, record: DeliveryRecord) -> None:
        target = self._config.targets.get(record.target)
        at = None if target is None else lifecycle.expiry(record, target.retry)
        if at is not None:
            await self._speaker.await_expiry(record, at)
