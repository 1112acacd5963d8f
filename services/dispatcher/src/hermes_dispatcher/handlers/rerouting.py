"""A delivery goes to another target: its batch is routed there first, and only then is the delivery cancelled.

Until the router has made the other delivery, this one is held: the cleaner keeps what a held delivery needs. If the
router does not make it, this one stays held, which a person sees.
"""

import logging
from datetime import timedelta
from typing import Final

from hermes_common import subjects
from hermes_common.commands import DeliveryCommand, SeriesCommand
from hermes_common.ids import delivery_id, derived_id
from hermes_common.records import DeliveryRecord, DeliveryState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.consumer import Done, Outcome, RetryAfter
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.core import lifecycle, saying

log = logging.getLogger(__name__)

MOST_LOOKS: Final = 60
"""Looks for the other delivery, a second apart, before this one is left held."""

_SOON: Final = timedelta(seconds=1)
_FIRST: Final = timedelta(milliseconds=200)


class Rerouting:
    """Does what follows once a delivery is held for a reroute; doing it again has the effect of doing it once."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._deliveries = Deliveries(bus)

    async def follow(self, record: DeliveryRecord, revision: int, command: DeliveryCommand, looks: int) -> Outcome:
        """Have the batch routed to the other target, and cancel this delivery when that one exists."""
        if command.to is None or record.state not in (DeliveryState.HELD, DeliveryState.CANCELLED):
            return Done()  # somebody has released it since
        if record.state is DeliveryState.HELD:
            route = SeriesCommand(
                command_id=derived_id("reroute", command.command_id),
                actor=command.actor,
                reason=command.reason,
                series_uid=record.series_uid,
                action="route",
                targets=(command.to,),
                batch_ids=(record.batch_id,),
                priority=record.priority,
            )
            other = delivery_id(record.batch_id, command.to, route.command_id)
            if await self._deliveries.load(other) is None:
                await self._bus.enqueue(subjects.SERIES_COMMANDS, route, route.command_id)
                if looks < MOST_LOOKS:
                    return RetryAfter(_FIRST if looks == 1 else _SOON, "the router has not routed it yet")
                log.warning("delivery %s could not be rerouted to %s", record.delivery_id, command.to)
                await self._bus.publish(*saying.not_rerouted(record, command))
                return Done()
            record = lifecycle.rerouted(record, self._bus.now())
            await self._deliveries.change(record, revision)
        await self._bus.publish(*saying.commanded(record, command))
        return Done()
