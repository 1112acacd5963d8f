"""Storage commitment asked of targets: the timer that asks, and the results, however they come (PS3.4 J).

A result is an event, ``commitment.answered``: published by whoever it came to (the dispatcher that asked, or a
receiver) before it is answered with Success, and entered into the record of the delivery here.
"""

import asyncio
import logging
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest

from hermes_common import subjects
from hermes_common.commitments import answers
from hermes_common.dicom import status
from hermes_common.dicom.commitment import CommitmentRequest, CommitmentResult, Reference
from hermes_common.events import CommitmentAnswered, decode
from hermes_common.manifest import ManifestInstance
from hermes_common.ranges import parse_ranges
from hermes_common.records import Commitment, CommitmentState, DeliveryRecord, DeliveryState, TransactionRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, RetryAfter
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.errors import ConflictError, TransientError, steps_to, without_words
from hermes_common.targets import DicomTarget, Retry
from hermes_dispatcher.adapters.commitment_scu import Ask, NotAsked
from hermes_dispatcher.adapters.manifests import Manifests, ManifestUnusableError
from hermes_dispatcher.adapters.places import is_sent_to
from hermes_dispatcher.adapters.records import Deliveries
from hermes_dispatcher.adapters.sent import references
from hermes_dispatcher.adapters.threads import in_daemon
from hermes_dispatcher.core import committing, retrying
from hermes_dispatcher.handlers.speaking import Speaker, is_over
from hermes_dispatcher.handlers.watching import Watch

log = logging.getLogger(__name__)

DUE = Consumer(subjects.TIMERS, "dispatcher-commitments", (subjects.commitment_due("*"),))
ANSWERS = Consumer(subjects.EVENTS, "dispatcher-commitment-answers", (f"{CommitmentAnswered.type()}.*",))

AT_ONCE = 2
"""Requests to one target at a time: one that hangs must not keep those to others waiting."""

_SOON = timedelta(seconds=2)
_RESTING = timedelta(seconds=30)
"""From one look at a target that is paused or down to the next."""
_GRACE = timedelta(seconds=5)
"""For a request that is under way when the service stops."""
_CONFLICTS = 5


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """A request broke off through no fault of its own."""

    reason: str


class Committer:
    """Handles ``hermes.due.commitment.<delivery>`` and ``commitment.answered``."""

    def __init__(
        self, bus: Bus, config: ConfigView, manifests: Manifests, ask: Ask, watch: Watch, stopping: asyncio.Event
    ) -> None:
        self._bus = bus
        self._config = config
        self._manifests = manifests
        self._ask = ask
        self._watch = watch
        self._stopping = stopping
        self._asking: Counter[str] = Counter()
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
        if commitment.next_at is None or not is_over(message.data, commitment.next_at, self._bus.now()):
            await self._say(record)
            return Done()
        target = self._config.targets.get(record.target)
        if committing.asked_of(target) is None:
            await self._config.refresh()  # whoever sent it may know a setting that is a moment old
            target = self._config.targets.get(record.target)
        asked = committing.asked_of(target)
        if asked is None or not isinstance(target, DicomTarget):
            why = "storage commitment is not asked of the target any more"
            return await self._change(committing.failed(record, commitment, why, self._bus.now()), revision)
        if commitment.state is CommitmentState.ASKED:
            return await self._change(committing.silent(record, commitment, asked.max_wait, self._bus.now()), revision)
        if (why := self._is_resting(target)) is not None:
            return await self._change(
                committing.postponed(record, commitment, self._bus.now() + _RESTING, why), revision
            )
        if self._stopping.is_set():
            return RetryAfter(_SOON, "the service stops")
        if self._asking[target.slug] >= AT_ONCE:
            await self._speaker.await_commitment(record, self._bus.now() + _SOON)
            return Done()  # what is to come again would count against the messages that may be under way
        self._asking[target.slug] += 1
        try:
            return await self._begin(record, commitment, revision, target)
        finally:
            self._asking[target.slug] -= 1

    def _is_resting(self, target: DicomTarget) -> str | None:
        if target.is_paused(self._bus.now()):
            return "the target is paused"
        return "the target is down" if target.slug in self._watch.down else None

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
        kept = [
            places[uid]
            for uid, sop_class in zip_longest(event.committed, event.committed_classes, fillvalue="")
            if uid in places and sop_class in ("", known[places[uid]].sop_class)
        ]
        refused = {
            places[each.sop_instance_uid]: each.reason for each in event.failed if each.sop_instance_uid in places
        }
        policy = Retry() if target is None else target.retry
        changed = committing.answered(
            record, event.transaction_uid, kept, refused, policy, self._delay(policy, record), self._bus.now()
        )
        if changed != record:
            await self._deliveries.note(changed, revision)
            crash_point("dispatcher.commitment-entered")
        elif record.commitment is None or event.transaction_uid not in record.commitment.transactions:
            return Done()
        await self._say(changed)
        return Done()

    async def _begin(
        self, record: DeliveryRecord, commitment: Commitment, revision: int, target: DicomTarget
    ) -> Outcome:
        """Note the transactions, then ask; what breaks off in between is asked again under others."""
        instances = await self._instances(record)
        if not instances:
            why = "its manifest cannot be read, so nobody knows which instances to ask for"
            return await self._change(committing.failed(record, commitment, why, self._bus.now()), revision)
        kept = parse_ranges(commitment.committed)
        sent = await references(self._bus, record, target, instances)
        wanted = [reference for position, reference in enumerate(sent) if position not in kept]
        parts = committing.in_parts(wanted, committing.PER_TRANSACTION)
        asked = [(_transaction(record), part) for part in parts]
        uids = [transaction.transaction_uid for transaction, _ in asked]
        until = self._bus.now() + committing.lease(target, len(parts))
        record = committing.asking(record, commitment, uids, until, self._bus.now())
        await self._deliveries.note(record, revision)
        for uid, (transaction, _) in zip(uids, asked, strict=True):
            await self._bus.create(subjects.HELD, subjects.transaction(uid), transaction)
        await self._speaker.await_commitment(record)
        crash_point("dispatcher.commitment-noted")
        refusal = await self._ask_in_parts(record, target, asked)
        crash_point("dispatcher.commitment-asked")
        return await self._conclude(record, uids, refusal, target)

    async def _ask_in_parts(
        self,
        record: DeliveryRecord,
        target: DicomTarget,
        asked: Sequence[tuple[TransactionRecord, tuple[Reference, ...]]],
    ) -> NotAsked | _Interrupted | None:
        """Ask one part after the other; return why the first that was not taken was not. Those before it count."""
        for transaction, part in asked:
            if self._stopping.is_set():
                return _Interrupted("the service stopped before it was asked")
            refusal = await self._asked(target, CommitmentRequest(transaction.transaction_uid, part), transaction)
            if refusal is not None:
                return refusal
            await self._speaker.commitment_requested(record, transaction.transaction_uid, len(part))
        return None

    async def _asked(
        self, target: DicomTarget, request: CommitmentRequest, transaction: TransactionRecord
    ) -> NotAsked | _Interrupted | None:
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

        asking = in_daemon(f"commit-{target.slug}", lambda: self._ask(target, request, take))
        return await self._ended(asking, committing.longest(target).total_seconds())

    async def _ended(self, request: "asyncio.Future[NotAsked | None]", limit: float) -> NotAsked | _Interrupted | None:
        """Wait for a request, bounded. One that is left goes on in its thread, and what it still hears counts."""
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({request, stop}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                await asyncio.wait({request}, timeout=_GRACE.total_seconds())
        finally:
            stop.cancel()
        if not request.done():
            request.cancel()
            if self._stopping.is_set():
                return _Interrupted("the service stopped while it was asked")
            return NotAsked(f"the target could not be asked within {limit:g} s")
        if (error := request.exception()) is not None:
            log.error("asking for storage commitment failed\n%s", steps_to(error))
            return NotAsked(f"an error of ours: {without_words(error)}")
        return request.result()

    async def _publish(self, transaction: TransactionRecord, result: CommitmentResult) -> None:
        for event, event_id in answers(transaction, result, "same association"):
            await self._bus.publish(event, event_id)

    async def _conclude(
        self,
        record: DeliveryRecord,
        uids: Sequence[str],
        refusal: NotAsked | _Interrupted | None,
        target: DicomTarget,
    ) -> Outcome:
        """Write what came of a request, unless a result or a person was faster."""
        if isinstance(refusal, NotAsked) and await self._is_down(target, refusal):
            refusal = _Interrupted(f"the target is down: {refusal.reason}"[:1500])
        for _ in range(_CONFLICTS):
            try:
                return await self._written(record, uids, refusal, target)
            except ConflictError:
                log.debug("delivery %s: a part of a result came while this was written", record.delivery_id)
        return await self._written(record, uids, refusal, target)

    async def _is_down(self, target: DicomTarget, refusal: NotAsked) -> bool:
        """Find out whether a target that could not be asked is down as a whole: then the request costs no try.

        While it is being sent to, it may have no association left for us or for a test: whoever sends will find out.
        """
        if not refusal.is_unreachable or self._stopping.is_set() or await is_sent_to(self._bus, target.slug):
            return False
        for endpoint in target.all_endpoints():
            if await self._watch.judge(target, endpoint) is None:
                return False
        return True

    async def _written(
        self, record: DeliveryRecord, uids: Sequence[str], refusal: NotAsked | _Interrupted | None, target: DicomTarget
    ) -> Outcome:
        found = await self._deliveries.load(record.delivery_id)
        if found is None or found[0].commitment is None:
            return Done()
        present, revision = found
        commitment = found[0].commitment
        is_ours = commitment.state is CommitmentState.ASKING and committing.last_request(commitment) == tuple(uids)
        if not is_ours or present.state is not DeliveryState.SUCCEEDED:
            return Done()
        if refusal is None:
            wait = committing.asked_of(target)
            most = timedelta(hours=1) if wait is None else wait.max_wait
            return await self._change(committing.taken(present, commitment, most, self._bus.now()), revision)
        log.info("delivery %s: no storage commitment: %s", record.delivery_id, refusal.reason)
        if isinstance(refusal, _Interrupted):
            until = self._bus.now() if self._stopping.is_set() else self._bus.now() + _RESTING
            return await self._change(committing.interrupted(present, commitment, until, refusal.reason), revision)
        delay = self._delay(target.retry, present)
        return await self._change(
            committing.refused(present, commitment, target.retry, delay, refusal.reason, self._bus.now()), revision
        )

    async def _change(self, record: DeliveryRecord, revision: int) -> Outcome:
        await self._deliveries.note(record, revision)
        await self._say(record)
        return Done()

    async def _say(self, record: DeliveryRecord) -> None:
        """Say how it ended, if it has; only then is the manifest looked at."""
        has_ended = record.commitment is not None and record.commitment.ended_at is not None
        instances = await self._instances(record) if has_ended else ()
        await self._speaker.commitment(record, [each.sop_instance_uid for each in instances])

    async def _instances(self, record: DeliveryRecord) -> Sequence[ManifestInstance]:
        """Return the instances of a delivery; none if its manifest is gone for good."""
        try:
            return (await self._manifests.manifest(record.manifest_key)).instances
        except ManifestUnusableError as error:
            log.warning("delivery %s: %s", record.delivery_id, error)
            return ()

    def _delay(self, policy: Retry, record: DeliveryRecord) -> timedelta:
        tries = 1 if record.commitment is None else max(1, record.commitment.tries)
        return retrying.delay(policy, tries, random.random())  # noqa: S311  # it spreads requests, no more


def _transaction(record: DeliveryRecord) -> TransactionRecord:
    return TransactionRecord(
        transaction_uid=f"2.25.{uuid.uuid4().int}",  # to know it is the proof of having been asked
        delivery_id=record.delivery_id,
        series_uid=record.series_uid,
        study_uid=record.study_uid,
        batch_id=record.batch_id,
        target=record.target,
    )
