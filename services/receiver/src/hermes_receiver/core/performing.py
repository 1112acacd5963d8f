"""What becomes of a performed procedure step when a modality creates or sets it (PS3.4 F.7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from hermes_common.dicom import status
from hermes_common.dicom.mpps import PERFORMED_SERIES, InvalidStep, StepChange
from hermes_common.events import MppsCreated, MppsSet, Sender, StepStatus
from hermes_common.ids import derived_id
from hermes_common.records import StepRecord

MOST_CHANGES: Final = 1_000
"""How often a step may be set."""
NO_LONGER: Final = 0xA710
"""Error ID (0000,0903) of a step that has ended (PS3.4 table F.7.2-2)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A status that says no, with what goes with it in the response (PS3.7 C)."""

    status: int
    comment: str
    identifiers: tuple[int, ...] = ()
    error_id: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """An N-CREATE or N-SET request that could be read. ``digest`` is that of its data set."""

    sop_instance: str
    change: StepChange
    digest: str
    sender: Sender
    association_id: str
    at: datetime


def on_create(present: StepRecord | None, request: Request) -> StepRecord | Refused:
    """Return the record of the step that is created."""
    if present is not None:
        return Refused(status.DUPLICATE_INSTANCE, "there is a step with this SOP Instance UID")
    change = request.change
    return StepRecord(
        sop_instance_uid=request.sop_instance,
        status=StepStatus.IN_PROGRESS,
        studies=change.studies,
        series=change.series or (),
        modality=change.modality,
        sender=request.sender,
        association_id=request.association_id,
        request=request.digest,
        updated_at=request.at,
    )


def on_set(present: StepRecord | None, request: Request) -> StepRecord | Refused:
    """Return the record of the step as it is set. What the request does not name stays as it is."""
    if present is None:
        return Refused(status.NO_SUCH_INSTANCE, "there is no step with this SOP Instance UID")
    if present.status is not StepStatus.IN_PROGRESS:
        words = "Performed Procedure Step Object may no longer be updated"
        return Refused(status.PROCESSING_FAILURE, words, error_id=NO_LONGER)
    if present.change > MOST_CHANGES:
        return Refused(status.RESOURCE_LIMITATION, f"the step has been set {MOST_CHANGES} times")
    change = request.change
    series = present.series if change.series is None else change.series
    reached = present.status if change.status is None else change.status
    if reached is StepStatus.COMPLETED and not series:
        code = status.MISSING_ATTRIBUTE if change.series is None else status.MISSING_ATTRIBUTE_VALUE
        return Refused(code, "a completed step needs its Performed Series Sequence", (PERFORMED_SERIES,))
    return present.model_copy(
        update={
            "status": reached,
            "series": series,
            "sender": request.sender,
            "association_id": request.association_id,
            "change": present.change + 1,
            "request": request.digest,
            "said": False,
            "updated_at": request.at,
        }
    )


def refused(error: InvalidStep) -> Refused:
    """Return how a data set that cannot be taken is answered."""
    words = str(error)
    match error.fault:
        case "missing":
            return Refused(status.MISSING_ATTRIBUTE, words, error.tags)
        case "empty":
            return Refused(status.MISSING_ATTRIBUTE_VALUE, words, error.tags)
        case "invalid":
            return Refused(status.INVALID_ATTRIBUTE_VALUE, words)
        case "too_much":
            return Refused(status.RESOURCE_LIMITATION, words)
        case "unreadable":
            return Refused(status.PROCESSING_FAILURE, words)
        case _:
            assert_never(error.fault)


def event_of(record: StepRecord) -> tuple[MppsCreated | MppsSet, str]:
    """Return what is published of a record, under an id that is the same however often it is."""
    kind = MppsCreated if record.change == 1 else MppsSet
    event = kind(
        sop_instance_uid=record.sop_instance_uid,
        association_id=record.association_id,
        sender=record.sender,
        status=record.status,
        study_uid=record.studies[0],
        studies=list(record.studies),
        series=list(record.series),
        modality=record.modality,
        change=record.change,
    )
    return event, derived_id("mpps", record.sop_instance_uid, str(record.change), record.request)
