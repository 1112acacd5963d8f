"""The row of a delivery, and those of its attempts, from what was said about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hermes_bookkeeper.core.said import Row, Said
from hermes_common.events import (
    DeliveryCancelled,
    DeliveryCommitmentRequested,
    DeliveryCommitted,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryHeld,
    DeliveryQueued,
    DeliveryReleased,
    DeliveryRestarted,
    DeliveryRetrying,
    DeliveryStarted,
    DeliverySucceeded,
    DeliveryUncommitted,
    DeliveryWaiting,
)
from hermes_common.records import DeliveryState

AnyDelivery = (
    DeliveryQueued
    | DeliveryStarted
    | DeliveryRetrying
    | DeliveryFailed
    | DeliverySucceeded
    | DeliveryCancelled
    | DeliveryDismissed
    | DeliveryRestarted
    | DeliveryHeld
    | DeliveryReleased
    | DeliveryWaiting
    | DeliveryCommitmentRequested
    | DeliveryCommitted
    | DeliveryUncommitted
)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the outcomes of instances add: how many were delivered, and when the last was said."""

    delivered: int = 0
    last_seq: int = 0
    last_time: datetime | None = None


_NOT_ASKED: Row = {
    "commitment": "",
    "commitment_uid": "",
    "commitment_reason": "",
    "committed": 0,
    "uncommitted": [],
    "commitment_at": None,
}


def delivery_row(said: Sequence[Said], progress: Progress) -> Row:
    """Return the row of one delivery. ``said``: all its events but outcomes, in the order of the stream, at least one.

    The last event decides the state, but ``queued`` only begins: the router says it after the record exists, so that
    the dispatcher may have said something before.
    """
    events = [item.event for item in said if isinstance(item.event, AnyDelivery)]
    row: Row = {
        "delivery_id": events[0].delivery_id,
        "series_uid": events[0].series_uid,
        "study_uid": next((event.study_uid for event in events if event.study_uid), ""),
        "batch_id": events[0].batch_id,
        "target": events[0].target,
        "state": DeliveryState.QUEUED.value,
        "priority": "normal",
        "rules": [],
        "instances": 0,
        "octets": 0,
        "delivered": progress.delivered,
        "attempt": 0,
        "reason": "",
        "actor": "",
        "bulk": "",
        **_NOT_ASKED,
        "next_attempt_at": None,
        "queued_at": min(item.time for item in said),
        "started_at": None,
        "ended_at": None,
        "updated_at": max(*(item.time for item in said), progress.last_time or said[0].time),
        "last_seq": max(said[-1].seq, progress.last_seq),
    }
    for item in said:
        row.update(_change(row, item))
    if row["state"] == DeliveryState.SUCCEEDED:
        row["delivered"] = max(progress.delivered, row.pop("_claimed"))
    row.pop("_claimed", None)
    row.pop("_queued", None)
    return row


def _change(row: Row, item: Said) -> Row:  # noqa: PLR0911  # a table: one line an event
    """Return the columns that one event changes."""
    event = item.event
    ended = {"next_attempt_at": None, "ended_at": item.time}
    match event:
        case DeliveryQueued() if "_queued" not in row:
            return {
                "_queued": True,
                "queued_at": item.time,
                "instances": event.instances,
                "octets": event.octets,
                "priority": event.priority.value,
                "rules": list(event.rules),
                "actor": row["actor"] or event.actor,
            }
        case DeliveryStarted():
            return {
                "state": DeliveryState.SENDING.value,
                "attempt": max(row["attempt"], event.attempt),
                "started_at": row["started_at"] or item.time,
                "next_attempt_at": None,
                "ended_at": None,
            }
        case DeliveryRetrying():
            return {
                "state": DeliveryState.RETRYING.value,
                "attempt": max(row["attempt"], event.attempt),
                "reason": event.reason,
                "next_attempt_at": event.next_attempt_at,
                "ended_at": None,
            }
        case DeliveryWaiting():
            attempt = max(row["attempt"], event.attempt)
            begun = {"next_attempt_at": None, "ended_at": None}
            return {"state": DeliveryState.QUEUED.value, "attempt": attempt, "reason": event.reason, **begun}
        case DeliveryFailed():
            attempt = max(row["attempt"], event.attempt)
            return {"state": DeliveryState.FAILED.value, "attempt": attempt, "reason": event.reason, **ended}
        case DeliverySucceeded():
            attempt = max(row["attempt"], event.attempt)
            claimed = {"_claimed": event.instances}
            return {"state": DeliveryState.SUCCEEDED.value, "attempt": attempt, "reason": "", **claimed, **ended}
        case DeliveryCancelled():
            reason = _cancelled(event) or row["reason"]
            return {"state": DeliveryState.CANCELLED.value, "actor": event.actor, "reason": reason, **ended}
        case DeliveryDismissed():
            reason = event.reason or row["reason"]
            return {"state": DeliveryState.DISMISSED.value, "actor": event.actor, "reason": reason, **ended}
        case DeliveryHeld():
            reason, still = event.reason or row["reason"], {"next_attempt_at": None, "ended_at": None}
            return {"state": DeliveryState.HELD.value, "actor": event.actor, "reason": reason, **still}
        case DeliveryRestarted() | DeliveryReleased():
            begun = {"next_attempt_at": None, "ended_at": None, **_NOT_ASKED}
            bulk = event.bulk if isinstance(event, DeliveryRestarted) else row["bulk"]
            return {"state": DeliveryState.QUEUED.value, "actor": event.actor, "bulk": bulk, "reason": "", **begun}
        case DeliveryCommitmentRequested() | DeliveryCommitted() | DeliveryUncommitted():
            return _commitment(row, event, item.time)
        case _:
            return {}


def _commitment(
    row: Row, event: DeliveryCommitmentRequested | DeliveryCommitted | DeliveryUncommitted, time: datetime
) -> Row:
    """Return the columns of storage commitment; a result may have been said before its request."""
    same = {"commitment_uid": event.transaction_uid, "commitment_at": time}
    match event:
        case DeliveryCommitmentRequested():
            is_over = row["commitment"] == "committed"  # under another transaction; this one was said late
            if is_over or row["commitment_uid"] == event.transaction_uid:
                return {}
            return {**same, "commitment": "requested", "commitment_reason": ""}
        case DeliveryCommitted():
            kept = {"committed": event.instances, "uncommitted": []}
            return {**same, "commitment": "committed", "commitment_reason": "", **kept}
        case DeliveryUncommitted():
            lost = {"committed": event.committed, "uncommitted": [each.model_dump() for each in event.failures]}
            return {**same, "commitment": "failed", "commitment_reason": event.reason, **lost}


def _cancelled(event: DeliveryCancelled) -> str:
    """Return why a delivery was cancelled, and where its batch goes instead."""
    if event.rerouted_to is None:
        return event.reason
    return f"rerouted to {event.rerouted_to}" + (f": {event.reason}" if event.reason else "")


def attempt_rows(said: Sequence[Said]) -> list[Row]:
    """Return the rows of the attempts of one delivery, from all its events in the order of the stream."""
    rows: dict[int, Row] = {}
    for item in said:
        event = item.event
        match event:
            case DeliveryStarted():
                _attempt(rows, event.delivery_id, event.attempt).update(
                    dispatcher=event.dispatcher, endpoint=event.endpoint, started_at=item.time
                )
            case DeliveryRetrying() | DeliveryFailed() if event.attempt > 0:
                result = DeliveryState.RETRYING if isinstance(event, DeliveryRetrying) else DeliveryState.FAILED
                _attempt(rows, event.delivery_id, event.attempt).update(
                    ended_at=item.time, result=result.value, missing=event.missing, reason=event.reason
                )
            case DeliveryWaiting():
                _attempt(rows, event.delivery_id, event.attempt).update(
                    ended_at=item.time, result="waiting", missing=event.missing, reason=event.reason
                )
            case DeliverySucceeded():
                _attempt(rows, event.delivery_id, event.attempt).update(
                    ended_at=item.time, result=DeliveryState.SUCCEEDED.value, missing=0, reason=""
                )
            case DeliveryCancelled() | DeliveryHeld() if rows:
                last = rows[max(rows)]
                if not last["result"]:
                    last.update(ended_at=item.time, result=event.verb, reason=event.reason)
            case _:
                pass
    return list(rows.values())


def _attempt(rows: dict[int, Row], delivery_id: str, attempt: int) -> Row:
    empty: Row = {
        "delivery_id": delivery_id,
        "attempt": attempt,
        "dispatcher": "",
        "endpoint": "",
        "started_at": None,
        "ended_at": None,
        "result": "",
        "missing": None,
        "reason": "",
    }
    return rows.setdefault(attempt, empty)
