"""The rows that one event makes by itself, whatever else happened."""

from collections.abc import Iterable

from hermes_bookkeeper.core.facts import Fact
from hermes_bookkeeper.core.lives import sender_columns
from hermes_bookkeeper.core.said import Row
from hermes_bookkeeper.core.text import clean
from hermes_common.durations import format_duration
from hermes_common.events import (
    AlertCleared,
    AlertRaised,
    ConfigChanged,
    DeliveryProgressed,
    InstanceQuarantined,
    InstanceStored,
    MessageParked,
    SeriesCompleted,
    SeriesDeferred,
    SeriesDiscarded,
    SeriesRouted,
    SeriesUnmatched,
    StudyCompleted,
)


def own_row(fact: Fact) -> tuple[str, Row] | None:  # noqa: PLR0911  # a table: one line an event
    """Return the table and the row that a fact makes; None if it makes none by itself."""
    event = fact.event
    match event:
        case InstanceStored():
            return "instances", _instance(fact, event)
        case InstanceQuarantined():
            fields = ("reception_id", "association_id", "key", "reason", "status", "octets")
            row = {name: getattr(event, name) for name in (*fields, "sop_class_uid", "sop_instance_uid", "received_at")}
            return "quarantine", {**row, **sender_columns(event.sender), "seq": fact.seq}
        case SeriesCompleted():
            fields = ("batch_id", "series_uid", "batch", "manifest_key", "instances", "octets")
            more = ("duplicates", "conflicts", "first_received_at", "last_received_at")
            row = {name: getattr(event, name) for name in (*fields, *more, "quiet_for", "shortened_by")}
            row["quiet_period"] = format_duration(event.quiet_period)
            return "batches", {**row, "completed_at": fact.time, "seq": fact.seq}
        case SeriesRouted() | SeriesUnmatched() | SeriesDiscarded() | SeriesDeferred():
            decision = event.decision
            row = {name: getattr(decision, name) for name in ("batch_id", "kind", "outcome", "revision", "actor")}
            row |= {"decision": decision.model_dump(mode="json"), "decided_at": decision.decided_at}
            return "decisions", {"event_id": fact.id, "series_uid": event.series_uid, **row, "seq": fact.seq}
        case StudyCompleted():
            names = ("study_uid", "round", "kind", "outcome", "revision", "actor", "reason")
            row = {name: getattr(event, name) for name in names}
            row |= {"decision": event.model_dump(mode="json"), "completed_at": fact.time}
            return "study_decisions", {"event_id": fact.id, **row, "seq": fact.seq}
        case ConfigChanged():
            row = {name: getattr(event, name) for name in ("revision", "author", "comment", "before", "after")}
            return "config_changes", {"kind": event.kind.value, **row, "time": fact.time, "seq": fact.seq}
        case MessageParked():
            what = ("consumer", "original_subject", "stream_sequence", "reason", "attempts")
            return "parked", {"event_id": fact.id, **{name: getattr(event, name) for name in what}, "time": fact.time}
        case _:
            return None


def news_row(fact: Fact) -> Row | None:
    """Return what has to be looked at to tell people of it, or None."""
    match fact.event:
        case AlertRaised() | AlertCleared() as event:
            what = {"event_id": fact.id, "alert_id": event.alert_id, "what": event.verb}
            return {**what, "time": fact.time, "look_at": fact.time}
        case _:
            return None


def _instance(fact: Fact, event: InstanceStored) -> Row:
    return {
        "reception_id": event.reception_id,
        "series_uid": event.series_uid,
        "study_uid": event.study_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "sop_class_uid": event.sop_class_uid,
        "transfer_syntax_uid": event.transfer_syntax_uid,
        "key": event.key,
        "digest": event.digest,
        "octets": event.octets,
        "association_id": event.association_id,
        **sender_columns(event.sender),
        "warnings": event.warnings,
        "received_at": event.received_at,
        "stored_at": fact.time,
        "seq": fact.seq,
    }


def outcome_rows(facts: Iterable[Fact]) -> list[Row]:
    """Return the outcomes of instances that facts report: of each instance at each target, the one that holds."""
    rows: dict[tuple[str, int], Row] = {}
    for fact in facts:
        event = fact.event
        if not isinstance(event, DeliveryProgressed):
            continue
        for outcome in event.outcomes:
            row: Row = {
                "delivery_id": event.delivery_id,
                "index": outcome.index,
                "sop_instance_uid": outcome.sop_instance_uid,
                "result": outcome.result,
                "status": outcome.status,
                "reason": clean(outcome.reason),
                "attempt": event.attempt,
                "at": outcome.at,
                "seq": fact.seq,
            }
            key = (event.delivery_id, outcome.index)
            if key not in rows or _rank(row) > _rank(rows[key]):
                rows[key] = row
    return list(rows.values())


def _rank(row: Row) -> tuple[object, ...]:
    status = -1 if row["status"] is None else row["status"]
    return (row["result"] == "delivered", row["attempt"], row["at"], status, row["reason"].encode(), -row["seq"])
