"""What a person asks for with a series: send it somewhere, look at the rules again, discard it."""

import logging
from datetime import timedelta

from pydantic import ValidationError

from hermes_common import subjects
from hermes_common.commands import SeriesCommand
from hermes_common.events import Decision, SeriesRecovered
from hermes_common.ids import derived_id
from hermes_common.keys import decision_key
from hermes_common.records import BatchRef, SeriesRecord, SeriesState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, Park, RetryAfter
from hermes_router.adapters.documents import Documents
from hermes_router.core import lifecycle, planning
from hermes_router.handlers.deciding import Decider
from hermes_router.handlers.joining import Studies

log = logging.getLogger(__name__)

CONSUMER = Consumer(
    stream=subjects.WORK,
    durable="router-commands",
    subjects=(subjects.SERIES_COMMANDS,),
    ack_wait=timedelta(seconds=60),
    max_ack_pending=64,
)

MOST_WAITS = 120
"""How often a command waits (5 s each) for a series that is still being received or deleted."""


class Commander:
    """Handles :class:`SeriesCommand`."""

    def __init__(self, bus: Bus, config: ConfigView, documents: Documents, decider: Decider, studies: Studies) -> None:
        self._bus = bus
        self._studies = studies
        self._config = config
        self._documents = documents
        self._decider = decider

    async def handle(self, message: Message) -> Outcome:
        """Carry a command out, once."""
        try:
            command = SeriesCommand.model_validate_json(message.data)
        except ValidationError as error:
            return Park(f"not a command: {error.errors()[0]['msg']}")
        await self._config.loaded.wait()
        loaded = await self._decider.load(command.series_uid)
        if loaded is None or loaded[0].state is not SeriesState.OPEN:
            return await self._wait_or_drop(command, message, loaded)
        record, revision = loaded
        if command.command_id in record.commands:
            await self._ask_study(record)
            return Done()
        name = new_id()
        key = decision_key(command.series_uid, name)
        decisions = await self._decide(command, record, key)
        if not decisions:
            log.warning("command %s: nothing of series %s is concerned", command.action, command.series_uid)
            return Done()
        await self._documents.write_decisions(command.series_uid, name, list(decisions.values()))
        recovered = [batch for batch in record.batches if batch.batch_id in decisions and not batch.deliveries]
        changed = lifecycle.with_command(record, command.command_id, decisions, key, now())
        revision = await self._decider.store(changed, revision)
        targets = sorted({planned.target for decision in decisions.values() for planned in decision.deliveries})
        if recovered and targets:
            event = SeriesRecovered(
                series_uid=command.series_uid, study_uid=record.study_uid, actor=command.actor, targets=targets
            )
            await self._bus.publish(event, derived_id("recovered", command.command_id))
        await self._ask_study(changed)
        await self._decider.say_pending(changed, revision)
        return Done()

    async def _ask_study(self, record: SeriesRecord) -> None:
        """Have the rules about the study applied to what they were deferred to, as they are now."""
        if any(batch.deferred and batch.awaits_study for batch in record.batches):
            await self._studies.batched(record.study_uid, record.series_uid, None, afresh=True)

    async def _decide(self, command: SeriesCommand, record: SeriesRecord, key: str) -> dict[str, Decision]:
        """Return the new decision for each batch that the command concerns."""
        batches = [batch for batch in record.batches if batch.instances]
        match command.action:
            case "route" if command.targets:
                asked = [item for item in batches if not command.batch_ids or item.batch_id in command.batch_ids]
                return {batch.batch_id: self._by_hand(command, batch, key) for batch in asked}
            case "discard":
                undelivered = [batch for batch in batches if not batch.deliveries]
                return {batch.batch_id: self._by_hand(command, batch, key) for batch in undelivered}
            case "reevaluate":
                manifests = await self._documents.manifests(tuple(batches))
                in_study = await self._studies.join(record.study_uid, record.series_uid)
                return {
                    batch.batch_id: self._decider.evaluate(
                        batch.batch_id, manifests, key, in_study=in_study
                    ).model_copy(update={"actor": command.actor})
                    for batch in batches
                }
            case _:
                return {}

    def _by_hand(self, command: SeriesCommand, batch: BatchRef, key: str) -> Decision:
        revision, _ = self._config.rules
        targets = command.targets if command.action == "route" else ()
        return planning.by_hand(
            batch.batch_id, command.command_id, targets, command.actor, revision, now(), key, command.priority
        )

    async def _wait_or_drop(
        self, command: SeriesCommand, message: Message, loaded: tuple[SeriesRecord, int] | None
    ) -> Outcome:
        """A series that is still being received is waited for; one that is gone cannot be routed any more."""
        coming = loaded is not None and loaded[0].state is SeriesState.DELETING
        if loaded is None:
            coming = await self._bus.last_sequence(subjects.EVENTS, subjects.instances_of(command.series_uid)) > 0
        if coming and message.attempt < MOST_WAITS:
            return RetryAfter(timedelta(seconds=5), "the series is not complete yet")
        log.warning("command %s: series %s is not there", command.action, command.series_uid)
        return Done()
