"""A stored instance (re)arms the timer of its series: the bus itself waits for the series to be quiet."""

import asyncio
from collections.abc import Sequence

from hermes_common import subjects
from hermes_common.ids import InvalidIdentifierError, token_uid
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, Park

CONSUMER = Consumer(
    stream=subjects.EVENTS,
    durable="router-assembler",
    subjects=(f"{subjects.INSTANCE_STORED}.*",),
    max_ack_pending=5000,
)


class Assembler:
    """Handles batches of ``instance.stored``."""

    def __init__(self, bus: Bus, config: ConfigView) -> None:
        self._bus = bus
        self._config = config

    async def handle(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Arm one timer for each series among the messages."""
        outcomes: list[Outcome] = []
        quiet_since: set[str] = set()
        for message in messages:
            try:
                quiet_since.add(token_uid(message.subject.rsplit(".", 1)[-1]))
                outcomes.append(Done())
            except InvalidIdentifierError as error:
                outcomes.append(Park(f"the subject names no series: {error}"))
        due = now() + self._config.policies.completion.quiet_period
        await asyncio.gather(
            *(self._bus.arm(subjects.series_timer(uid), subjects.series_due(uid), due) for uid in quiet_since)
        )
        return outcomes
