"""What the live records say, as the events that said it: for a rebuild, where the stream no longer reaches.

The ids are those under which router and dispatcher say these things, so an event that is known is not said again. A
record does not tell the revision of the rules, the attributes, or the outcome of each instance.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from hermes_bookkeeper.core.facts import Fact, read
from hermes_common.events import (
    Decision,
    DeliveryCancelled,
    DeliveryCommitted,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryHeld,
    DeliveryQueued,
    DeliveryRetrying,
    DeliverySucceeded,
    DeliveryUncommitted,
    Envelope,
    Event,
    PlannedDelivery,
    SeriesCompleted,
    SeriesDeferred,
    SeriesDiscarded,
    SeriesRouted,
    SeriesUnmatched,
    encode,
)
from hermes_common.ids import derived_id
from hermes_common.ranges import parse_ranges
from hermes_common.records import BatchRef, Commitment, CommitmentState, DeliveryRecord, DeliveryState, SeriesRecord

UNKNOWN_REVISION = 0
_DECIDED = {
    "routed": SeriesRouted,
    "unmatched": SeriesUnmatched,
    "discarded": SeriesDiscarded,
    "deferred": SeriesDeferred,
}


def series_facts(record: SeriesRecord, targets: dict[str, str]) -> list[Fact]:
    """Return that each batch of a series was completed and decided. ``targets``: delivery -> target, where known."""
    facts = []
    for batch in record.batches:
        facts.append(_completed(record, batch))
        if batch.outcome != "duplicates":
            facts.append(_decided(record, batch, targets))
    return facts


def delivery_facts(record: DeliveryRecord, seq: int) -> list[Fact]:
    """Return that a delivery was queued, and where it stands. ``seq``: its place in the stream, as near as is known."""
    about = _about(record)
    size = {"manifest_key": record.manifest_key, "instances": record.instances, "octets": record.octets}
    queued = DeliveryQueued(**about, **size, priority=record.priority, rules=list(record.rules), actor=record.actor)
    facts = [_fact(queued, derived_id("queued", record.delivery_id), record.created_at, seq)]
    if (event := _standing(record, about)) is not None:
        event_id = derived_id(
            "delivery", record.delivery_id, str(record.generation), record.state.value, str(record.attempt)
        )
        facts.append(_fact(event, event_id, record.updated_at, seq + 1))
    asked = record.commitment
    if asked is not None and asked.ended_at is not None and record.state is DeliveryState.SUCCEEDED:
        transaction = asked.transactions[-1] if asked.transactions else ""
        parts = (str(record.generation), asked.state.value, str(record.attempt), transaction)
        event_id = derived_id("delivery", record.delivery_id, *parts, asked.ended_at.isoformat())
        facts.append(_fact(_commitment(record, asked, transaction, about), event_id, asked.ended_at, seq + 2))
    return facts


def _commitment(record: DeliveryRecord, asked: Commitment, transaction: str, about: dict[str, Any]) -> Event:
    """Return how the question of storage commitment ended; which instances are not kept the manifest would name."""
    if asked.state is CommitmentState.COMMITTED:
        return DeliveryCommitted(**about, transaction_uid=transaction, instances=record.instances)
    return DeliveryUncommitted(
        **about,
        transaction_uid=transaction,
        committed=len(parse_ranges(asked.committed)),
        refused=sum(len(parse_ranges(ranges)) for ranges in asked.failed.values()),
        reason=asked.reason,
    )


def _completed(record: SeriesRecord, batch: BatchRef) -> Fact:
    received = batch.received_at or batch.decided_at
    event = SeriesCompleted(
        series_uid=record.series_uid,
        study_uid=record.study_uid,
        batch_id=batch.batch_id,
        batch=batch.batch,
        manifest_key=batch.manifest_key,
        through_seq=batch.through_seq,
        instances=batch.instances,
        octets=batch.octets,
        first_received_at=min(record.created_at, received),
        last_received_at=received,
        quiet_period=batch.quiet_period or timedelta(),
        quiet_for=batch.quiet_for,
        shortened_by=batch.shortened_by,
    )
    return _fact(event, derived_id("completed", batch.batch_id), batch.decided_at, batch.through_seq)


def _decided(record: SeriesRecord, batch: BatchRef, targets: dict[str, str]) -> Fact:
    outcome = "deferred" if batch.deferred else batch.outcome
    known = [key for key in batch.deliveries if key in targets]
    decision = Decision(
        batch_id=batch.batch_id,
        kind="rules",
        outcome=outcome,
        revision=UNKNOWN_REVISION,
        deliveries=[PlannedDelivery(delivery_id=key, target=targets[key]) for key in known],
        decided_at=batch.decided_at,
        key=batch.decision_key,
    )
    event = _DECIDED[outcome](
        series_uid=record.series_uid, study_uid=record.study_uid, batch=batch.batch, decision=decision
    )
    return _fact(event, derived_id("decided", batch.batch_id, ""), batch.decided_at, batch.through_seq + 1)


_SAID_BY_A_PERSON: Mapping[DeliveryState, type[Event]] = {
    DeliveryState.HELD: DeliveryHeld,
    DeliveryState.CANCELLED: DeliveryCancelled,
    DeliveryState.DISMISSED: DeliveryDismissed,
}


def _about(record: DeliveryRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("delivery_id", "series_uid", "study_uid", "batch_id", "target")}


def _standing(record: DeliveryRecord, about: dict[str, Any]) -> Event | None:
    """Return the event that leaves a delivery as the record has it; None while it waits for its first attempt."""
    missing = record.instances - len(parse_ranges(record.delivered))
    left: dict[str, Any] = {**about, "attempt": record.attempt, "missing": missing, "reason": record.reason}
    by_whom: dict[str, Any] = {**about, "actor": record.actor, "reason": record.reason}
    match record.state:
        case DeliveryState.SUCCEEDED:
            return DeliverySucceeded(**about, attempt=max(record.attempt, 1), instances=record.instances)
        case DeliveryState.FAILED:
            return DeliveryFailed(**left)
        case DeliveryState.RETRYING:
            return DeliveryRetrying(**left, next_attempt_at=record.next_attempt_at or record.updated_at)
        case DeliveryState.HELD | DeliveryState.CANCELLED | DeliveryState.DISMISSED:
            return _SAID_BY_A_PERSON[record.state](**by_whom)
        case DeliveryState.QUEUED | DeliveryState.SENDING:
            return None


def _fact(event: Event, event_id: str, at: datetime, seq: int) -> Fact:
    subject, headers, body = encode(Envelope(id=event_id, source="rebuild", time=at, event=event))
    return read(subject, headers, body, seq)


def unknown(facts: Sequence[Fact], known: set[str]) -> list[Fact]:
    """Return the facts whose ids are not known."""
    return [fact for fact in facts if fact.id not in known]
