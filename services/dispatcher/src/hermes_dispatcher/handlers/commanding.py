"""What a person asks of a delivery: restart, hold, release, cancel, reroute, dismiss.

The record is changed first; whoever was sending is stopped; only then is it said. So nothing of a delivery is sent
after it was said to be cancelled or held, and one that was sent cannot be cancelled.

Against the cleaner: it marks a series and then looks at its deliveries; we change a delivery and then look at its
series. Whichever way the two overlap, at least one of them sees the other and steps back.
"""

import logging
from datetime import timedelta

from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.commands import DeliveryCommand
from hermes_common.records import DeliveryRecord, DeliveryState, SeriesState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, Park, RetryAfter
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.core import lifecycle, saying
from hermes_dispatcher.handlers.rerouting import Rerouting
from hermes_dispatcher.handlers.speaking import Speaker
from hermes_dispatcher.handlers.stopping import stopped

log = logging.getLogger(__name__)

CONSUMER = Consumer(subjects.WORK, "dispatcher-commands", (subjects.DELIVERY_COMMANDS,))

_SOON = timedelta(seconds=1)


class Commander:
    """Handles commands about deliveries; each is carried out once, however often it comes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)
        self._rerouting = Rerouting(bus)

    async def handle(self, message: Message) -> Outcome:
        """Carry out one command, or log why it means nothing."""
        try:
            command = DeliveryCommand.model_validate_json(message.data)
        except ValidationError as error:
            return Park(f"this is no command: {error.error_count()} mistakes")
        found = await self._deliveries.load(command.delivery_id)
        if found is None:
            return _refused(command, "there is no such delivery (any more)")
        record, revision = found
        if command.command_id in record.commands:
            is_last = command.command_id == record.commands[-1]  # else somebody has said something else since
            return await self._follow(record, revision, command, None, message.attempt) if is_last else Done()
        return await self._carry_out(record, revision, command, message.attempt)

    async def _carry_out(
        self, record: DeliveryRecord, revision: int, command: DeliveryCommand, attempt: int
    ) -> Outcome:
        """Change the record, and do what follows."""
        if command.action == "restart" and not await self._is_open(record):
            return _refused(command, "its series is being deleted or is gone")
        if (
            command.action in ("restart", "release")
            and record.lease is not None
            and record.lease.until > self._bus.now()
        ):
            return RetryAfter(_SOON, "whoever was sending it is being stopped")
        match lifecycle.on_command(record, command, self._bus.now()):
            case lifecycle.Refusal(reason=reason):
                return _refused(command, reason)
            case lifecycle.Change(record=changed):
                revision = await self._deliveries.change(changed, revision)
                return await self._follow(changed, revision, command, record, attempt)

    async def _follow(
        self,
        record: DeliveryRecord,
        revision: int,
        command: DeliveryCommand,
        former: DeliveryRecord | None,
        attempt: int,
    ) -> Outcome:
        """Do what follows from a command that changed the record; ``former`` is what it was, if that is known."""
        if record.state in (DeliveryState.HELD, DeliveryState.CANCELLED):
            await stopped(self._bus, record.lease)
            if record.lease is not None:
                record = record.model_copy(update={"lease": None})
                revision = await self._deliveries.change(record, revision)
        if command.action == "reroute":
            return await self._rerouting.follow(record, revision, command, attempt)
        if command.action == "restart" and record.state is DeliveryState.QUEUED:
            if not await self._is_open(record):
                return await self._step_back(record, revision, command, former)
            await self._speaker.enqueue(record)
        if command.action == "release" and record.state is DeliveryState.QUEUED:
            await self._speaker.enqueue(record)
        await self._bus.publish(*saying.commanded(record, command))
        return Done()

    async def _step_back(
        self, record: DeliveryRecord, revision: int, command: DeliveryCommand, former: DeliveryRecord | None
    ) -> Outcome:
        """Undo a restart that met the cleaner; the command comes again, and finds the series open or gone."""
        back = former or record.model_copy(update={"state": DeliveryState.CANCELLED, "updated_at": self._bus.now()})
        await self._deliveries.change(back, revision)
        if former is None:
            return _refused(command, "its series was deleted meanwhile")
        return RetryAfter(_SOON, "its series is being looked at by the cleaner")

    async def _is_open(self, record: DeliveryRecord) -> bool:
        series = await self._deliveries.series(record.series_uid)
        return series is not None and series.state is SeriesState.OPEN


def _refused(command: DeliveryCommand, reason: str) -> Outcome:
    log.warning("%s of delivery %s by %s is refused: %s", command.action, command.delivery_id, command.actor, reason)
    return Done()
