"""What becomes of a data set that has been received whole (PS3.4 B.2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from hermes_common.dicom import status
from hermes_common.dicom.errors import DataSetError, InvalidUid, MissingUid
from hermes_common.dicom.header import Header
from hermes_common.dicom.tags import SOP_CLASS_UID, SOP_INSTANCE_UID, tag_of


@dataclass(frozen=True, slots=True)
class Keep:
    """An instance: store it and answer Success."""

    header: Header


@dataclass(frozen=True, slots=True)
class Quarantine:
    """No instance: keep the bytes aside, answer ``status`` naming the ``offending`` tags."""

    status: int
    reason: str
    offending: tuple[int, ...] = ()


STUDY_INSTANCE_UID: Final = 0x0020000D

Verdict: TypeAlias = Keep | Quarantine

CORRUPT: Final = Quarantine(status.CANNOT_UNDERSTAND, "the bytes in the spool are not the bytes that were received")


def judge(sop_class: str, sop_instance: str, outcome: Header | DataSetError, study: str = "") -> Verdict:
    """Compare what was announced (``study`` empty: any) with what the data set says it is."""
    match outcome:
        case MissingUid():
            return Quarantine(status.MISSING_UID, outcome.reason, (tag_of(outcome.keyword),))
        case InvalidUid():
            return Quarantine(status.INVALID_UID, outcome.reason, (tag_of(outcome.keyword),))
        case DataSetError():
            return Quarantine(status.CANNOT_UNDERSTAND, f"unreadable data set: {outcome.reason}")
        case _:
            return _compare(sop_class, sop_instance, study, outcome)


def _compare(sop_class: str, sop_instance: str, study: str, header: Header) -> Verdict:
    if header.sop_instance_uid != sop_instance:
        reason = "SOP instance UID of command and data set differ"
        return Quarantine(status.DATA_SET_MISMATCH, reason, (SOP_INSTANCE_UID,))
    if header.sop_class_uid != sop_class:
        reason = "SOP class UID of command and data set differ"
        return Quarantine(status.DATA_SET_MISMATCH, reason, (SOP_CLASS_UID,))
    if study not in ("", header.study_uid):
        reason = "the instance belongs to another study than the request is for"
        return Quarantine(status.DATA_SET_MISMATCH, reason, (STUDY_INSTANCE_UID,))
    return Keep(header)
