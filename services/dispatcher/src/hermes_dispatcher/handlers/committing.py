"""Storage commitment asked of targets: the timer that asks, and the results, however they come (PS3.4 J).

A result is an event, ``commitment.answered``: published by whoever it came to (the dispatcher that asked, or a
receiver) before it is answered with Success, and entered into the record of the delivery here.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import timedelta

from hermes_common import subjects
from hermes_common.commitments import answers
from hermes_common.dicom import status
from hermes_common.dicom.commitment import CommitmentRequest, CommitmentResult, Reference
from hermes_common.events import CommitmentAnswered, decode
from hermes_common.manifest import ManifestInstance
from hermes_common.ranges import parse_ranges
from hermes_common.records import Commitment, CommitmentState, DeliveryRecord, DeliveryState, TransactionRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import TransientError
from hermes_common.targets import DicomTarget, Retry
from hermes_dispatcher.adapters.commitment_scu import Ask, NotAsked
from hermes_dispatcher.adapters.objects import ManifestUnusableError, Objects
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.adapters.sent import references
from hermes_dispatcher.adapters.threads import in_daemon
from hermes_dispatcher.core import committing, retrying
from hermes_dispatcher.handlers.speaking import Speaker

log = logging.getLogger(__name__)

DUE = Consumer(subjects.TIMERS, "dispatcher-commitments", (subjects.commitment_due("*"),))
ANSWERS = Consumer(subjects.EVENTS, "dispatcher-commitment-answers", (f"{CommitmentAnswered.type()}.*",))

_EARLY = timedelta(seconds=2)
_PAUSED = timedelta(seconds=30)
"""From one look at a target that is paused to the next."""


class Committer:
    """Handles ``hermes.due.commitment.<delivery>`` and ``commitment.answered``."""

    def __init__(self, bus: Bus, config: ConfigView, objects: Objects, ask: Ask) -> None:
        self._bus = bus
        self._config = config
        self._objects = objects
        self._ask = ask
        self._deliveries = Deliveries(bus)
        self._speaker = Speaker(bus)

    async def due(self, message: Message) -> Outcome:  # noqa: PLR0911  # a table: one line a case
        """Ask, or find that the target has not said anything in time."""
        await self._config.loaded.wait()
        found = await self._deliveries.load(message.subject.rpartition(".")[2])
        if found is None:
            return Done()
        record, revision = found
        commitment = record.commitment
        if commitment is None or record.state is not DeliveryState.SUCCEEDED:
            return Done()
        if commitment.next_at is None or commitment.next_at > now() + _EARLY:
            await self._say(record, await self._instances(record))
            return Done()
        target = self._config.targets.get(record.target)
        asked = committing.asked_of(target)
        if asked is None or not isinstance(target, DicomTarget):
            why = "storage commitment is not asked of the target any more"
            return await self._change(committing.failed(record, commitment, why, now()), revision)
        if commitment.state is CommitmentState.ASKED:
            return await self._change(committing.silent(record, commitment, asked.max_wait, now()), revision)
        if target.is_paused(now()):
            later = committing.postponed(record, commitment, now() + _PAUSED, "the target is paused")
            return await self._change(later, revision)
        return await self._begin(record, commitment, revision, target)

    async def answered(self, message: Message) -> Outcome:
        """Enter what a target said into the record of the delivery."""
        await self._config.loaded.wait()
        event = decode(message.headers, message.data).event
        if not isinstance(event, CommitmentAnswered):
            return Done()
        found = await self._deliveries.load(event.delivery_id)
        if found is None:
            return Done()
        record, revision = found
        instances = await self._instances(record)
        target = self._config.targets.get(record.target)
        known: Sequence[Reference] = []
        if target is not None:
            known = await references(self._bus, record, target, instances)
        places = {reference.sop_instance: position for position, reference in enumerate(known)}
        kept = [places[uid] for uid in event.committed if uid in places]
        refused = {
            places[each.sop_instance_uid]: each.reason for each in event.failed if each.sop_instance_uid in places
        }
        policy = Retry() if target is None else target.retry
        changed = committing.answered(
            record, event.transaction_uid, kept, refused, policy, self._delay(policy, record), now()
        )
        if changed != record:
            await self._deliveries.change(changed, revision)
            crash_point("dispatcher.commitment-entered")
        elif record.commitment is None or event.transaction_uid not in record.commitment.transactions:
            return Done()
        await self._say(changed, instances)
        return Done()

    async def _begin(
        self, record: DeliveryRecord, commitment: Commitment, revision: int, target: DicomTarget
    ) -> Outcome:
        """Note the transaction, then ask; what breaks off in between is asked again under another one."""
        instances = await self._instances(record)
        if not instances:
            why = "its manifest cannot be read, so nobody knows which instances to ask for"
            return await self._change(committing.failed(record, commitment, why, now()), revision)
        kept = parse_ranges(commitment.committed)
        sent = await references(self._bus, record, target, instances)
        wanted = tuple(reference for position, reference in enumerate(sent) if position not in kept)
        transaction = TransactionRecord(
            transaction_uid=f"2.25.{int(new_id().replace('-', ''), 16)}",
            delivery_id=record.delivery_id,
            series_uid=record.series_uid,
            study_uid=record.study_uid,
            batch_id=record.batch_id,
            target=record.target,
        )
        uid = transaction.transaction_uid
        record = committing.asking(record, commitment, uid, now() + committing.lease(target), now())
        await self._deliveries.change(record, revision)
        await self._bus.create(subjects.HELD, subjects.transaction(uid), transaction)
        await self._speaker.await_commitment(record)
        crash_point("dispatcher.commitment-noted")
        refusal = await self._asked(target, CommitmentRequest(uid, wanted), transaction)
        crash_point("dispatcher.commitment-asked")
        return await self._conclude(record, uid, refusal, target, len(wanted))

    async def _asked(
        self, target: DicomTarget, request: CommitmentRequest, transaction: TransactionRecord
    ) -> NotAsked | None:
        loop = asyncio.get_running_loop()

        def take(result: CommitmentResult) -> int:
            if result.transaction_uid != request.transaction_uid:
                return status.INVALID_ARGUMENT
            saying = asyncio.run_coroutine_threadsafe(self._publish(transaction, result), loop)
            try:
                saying.result(committing.HEARING.total_seconds())
            except (TransientError, TimeoutError) as error:
                log.warning("a storage commitment result of %s is not taken: %s", target.slug, error)
                return status.RESOURCE_LIMITATION
            return status.SUCCESS

        return await in_daemon(f"commit-{target.slug}", lambda: self._ask(target, request, take))

    async def _publish(self, transaction: TransactionRecord, result: CommitmentResult) -> None:
        for event, event_id in answers(transaction, result, "same association"):
            await self._bus.publish(event, event_id)

    async def _conclude(
        self, record: DeliveryRecord, uid: str, refusal: NotAsked | None, target: DicomTarget, wanted: int
    ) -> Outcome:
        """Write what came of a request, unless a result or a person was faster."""
        if refusal is None:
            await self._speaker.commitment_requested(record, uid, wanted)
        found = await self._deliveries.load(record.delivery_id)
        if found is None or found[0].commitment is None:
            return Done()
        present, revision = found
        commitment = found[0].commitment
        is_ours = commitment.state is CommitmentState.ASKING and commitment.transactions[-1:] == (uid,)
        if not is_ours or present.state is not DeliveryState.SUCCEEDED:
            return Done()
        if refusal is None:
            wait = committing.asked_of(target)
            most = timedelta(hours=1) if wait is None else wait.max_wait
            return await self._change(committing.taken(present, commitment, most, now()), revision)
        log.info("delivery %s: no storage commitment: %s", record.delivery_id, refusal.reason)
        delay = self._delay(target.retry, present)
        return await self._change(
            committing.refused(present, commitment, target.retry, delay, refusal.reason, now()), revision
        )

    async def _change(self, record: DeliveryRecord, revision: int) -> Outcome:
        await self._deliveries.change(record, revision)
        await self._say(record, await self._instances(record))
        return Done()

    async def _say(self, record: DeliveryRecord, instances: Sequence[ManifestInstance]) -> None:
        await self._speaker.commitment(record, [each.sop_instance_uid for each in instances])

    async def _instances(self, record: DeliveryRecord) -> Sequence[ManifestInstance]:
        """Return the instances of a delivery; none if its manifest is gone for good."""
        try:
            return (await self._objects.manifest(record.manifest_key)).instances
        except ManifestUnusableError as error:
            log.warning("delivery %s: %s", record.delivery_id, error)
            return ()

    def _delay(self, policy: Retry, record: DeliveryRecord) -> timedelta:
        tries = 1 if record.commitment is None else max(1, record.commitment.tries)
        return retrying.delay(policy, tries, random.random())  # noqa: S311  # it spreads requests, no more
