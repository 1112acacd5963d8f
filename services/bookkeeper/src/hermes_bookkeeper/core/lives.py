"""The rows of associations, service processes, alerts and studies, each from what was said about it in order."""

from collections.abc import Sequence
from typing import Any

from hermes_bookkeeper.core.said import Row, Said
from hermes_common.events import (
    AlertCleared,
    AlertRaised,
    AssociationAborted,
    AssociationClosed,
    AssociationOpened,
    AssociationRejected,
    MppsCreated,
    MppsSet,
    Sender,
    ServiceCrashed,
    ServiceStarted,
    ServiceStopped,
    StudyCompleted,
    StudyHeld,
)


def sender_columns(sender: Sender) -> Row:
    """Return the columns of a sender."""
    return {"calling_aet": sender.calling_aet, "called_aet": sender.called_aet, "address": sender.address}


def life_row(said: Sequence[Said]) -> tuple[str, Row] | None:
    """Return the table and the row of one thing; None if nothing was said that makes one.

    ``said``: what was said about it, in the order of the stream. What a modality says of its steps lies with its study.
    """
    telling = [item for item in said if not isinstance(item.event, MppsCreated | MppsSet)]
    if not telling:
        return None
    match telling[0].event:
        case AssociationOpened() | AssociationClosed() | AssociationRejected():
            return "associations", _association(telling)
        case ServiceStarted() | ServiceStopped() | ServiceCrashed():
            return "services", _service(telling)
        case AlertRaised() | AlertCleared():
            return "alerts", _alert(telling)
        case StudyCompleted() | StudyHeld():
            return "studies", _study(telling)
        case _:
            return None


def _association(said: Sequence[Said]) -> Row:
    row: Row = {"state": "opened", "instances": 0, "refused": 0, "octets": 0, "reason": "", "closed_at": None}
    row |= {"tls": "", "certificate": "", "identity": "", "implementation": ""}
    opened_at = None
    for item in said:
        event = item.event
        match event:
            case AssociationOpened():
                opened_at = opened_at or item.time
                row.update(tls=event.tls, certificate=event.certificate)
                row.update(identity=event.user, implementation=event.implementation)
            case AssociationClosed():
                row.update(instances=event.instances, refused=event.refused, octets=event.octets, closed_at=item.time)
                aborted = isinstance(event, AssociationAborted)
                row["state"] = "aborted" if aborted else "closed"
                row["reason"] = event.reason if isinstance(event, AssociationAborted) else ""
                row.setdefault("opened_at", item.time - event.duration)
            case AssociationRejected():
                row.update(state="rejected", reason=event.reason, closed_at=item.time)
                row.update(tls=event.tls, certificate=event.certificate)
                row.setdefault("opened_at", item.time)
            case _:
                continue
        row.update(association_id=event.association_id, **sender_columns(event.sender))
    if opened_at is not None:
        row["opened_at"] = opened_at
    return row | {"last_seq": said[-1].seq}


def _service(said: Sequence[Said]) -> Row:
    row: Row = {"version": "", "started_at": None, "ended_at": None}
    for item in said:
        event = item.event
        match event:
            case ServiceStarted():
                row.update(state="started", reason="", started_at=item.time, ended_at=None)
            case ServiceStopped() | ServiceCrashed():
                state = "stopped" if isinstance(event, ServiceStopped) else "crashed"
                row.update(state=state, reason=event.reason, ended_at=item.time)
            case _:
                continue
        row.update(instance=event.instance, service=event.service, version=event.version or row["version"])
    return row | {"last_seq": said[-1].seq}


def _alert(said: Sequence[Said]) -> Row:
    """An alert that is raised again under its id after it was cleared is open again."""
    row: dict[str, Any] = {"severity": "warning", "message": "", "reason": "", "cleared_at": None}
    raised_at = None
    for item in said:
        event = item.event
        match event:
            case AlertRaised():
                row.update(severity=event.severity, message=event.message, reason="", cleared_at=None)
                raised_at = item.time if raised_at is None or _was_cleared(said, item.seq) else raised_at
            case AlertCleared():
                row.update(reason=event.reason, cleared_at=item.time)
            case _:
                continue
        row.update(alert_id=event.alert_id, kind=event.kind, about=event.about)
    return row | {"raised_at": raised_at or said[0].time, "last_seq": said[-1].seq}


def _study(said: Sequence[Said]) -> Row:
    row: Row = {"outcome": "", "rules_revision": None, "problems": [], "instances": 0, "completed_at": None}
    rounds: set[tuple[int, Any]] = set()
    for item in said:
        event = item.event
        match event:
            case StudyCompleted():
                rounds.add((event.round, event.opened_at))
                by_series = event.outcome == "unmatched" and event.routed > 0
                row.update(state="complete", outcome="routed" if by_series else event.outcome)
                row.update(rules_revision=event.revision)
                row.update(problems=event.problems, instances=event.instances, completed_at=item.time)
            case StudyHeld():
                row.update(state="held")
            case _:
                continue
        row.update(study_uid=event.study_uid, reason=event.reason, series=event.series)
        row["opened_at"] = min(row.get("opened_at", event.opened_at), event.opened_at)
    return row | {"rounds": len(rounds), "last_seq": said[-1].seq}


def _was_cleared(said: Sequence[Said], before: int) -> bool:
    earlier = [item for item in said if item.seq < before]
    return bool(earlier) and isinstance(earlier[-1].event, AlertCleared)
