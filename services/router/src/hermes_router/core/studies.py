"""How the live record of a study changes."""

from datetime import datetime

from hermes_common.records import Forced, PendingCommand, StudyRecord, StudyState

MOST_SERIES = 1000
"""Series of one study that are followed. A study with more is a device that gives all of its studies one UID."""

MOST_COMMANDS = 50


def joined(record: StudyRecord | None, study_uid: str, series_uid: str, at: datetime) -> StudyRecord | None:
    """Return the record with a series of which instances came; None if nothing changes, or if it is full."""
    if record is None:
        return StudyRecord(study_uid=study_uid, series=(series_uid,), opened_at=at, created_at=at, updated_at=at)
    if series_uid in record.series or len(record.series) >= MOST_SERIES:
        return None
    return reopened(record, at).model_copy(update={"series": (*record.series, series_uid), "updated_at": at})


def reopened(record: StudyRecord, at: datetime) -> StudyRecord:
    """Return the record of a study of which something has come that is not decided."""
    if record.state is not StudyState.COMPLETE:
        return record
    return record.model_copy(
        update={"state": StudyState.OPEN, "opened_at": at, "waiting": "", "until": None, "updated_at": at}
    )


def with_expected(record: StudyRecord, expected: int | None) -> StudyRecord:
    """Return the record with the largest number of instances that a sender has named."""
    if expected is None or expected <= (record.expected or 0):
        return record
    return record.model_copy(update={"expected": expected})


def waiting(record: StudyRecord, state: StudyState, reason: str, until: datetime | None, at: datetime) -> StudyRecord:
    """Return the record with what the study waits for, or unchanged if it says so already."""
    if (record.state, record.waiting, record.until) == (state, reason, until):
        return record
    held = record.was_held or state is StudyState.HELD
    changes = {"state": state, "waiting": reason, "until": until, "was_held": held}
    return record.model_copy(update={**changes, "updated_at": at})


def over(record: StudyRecord, at: datetime) -> StudyRecord:
    """Return the record of a study of which nothing is undecided."""
    nothing = {"waiting": "", "until": None, "was_held": False, "forced": None, "afresh": False}
    changes = {"state": StudyState.COMPLETE, **nothing}
    if all(getattr(record, name) == value for name, value in changes.items()):
        return record
    return record.model_copy(update={**changes, "updated_at": at})


def decided(record: StudyRecord, round_: int, pending: PendingCommand, at: datetime) -> StudyRecord:
    """Return the record of a study that has been decided; not yet said."""
    return over(record, at).model_copy(
        update={
            "state": StudyState.COMPLETE,
            "round": round_,
            "decision_key": pending.decision_key,
            "pending": pending,
            "updated_at": at,
        }
    )


def said(record: StudyRecord, at: datetime) -> StudyRecord:
    """Return the record with everything that follows from the last decision published."""
    return record.model_copy(update={"pending": None, "updated_at": at})


def forced(record: StudyRecord, command_id: str, actor: str, at: datetime, *, discard: bool = False) -> StudyRecord:
    """Return the record with a person's wish that the study be taken as complete, or be discarded."""
    return record.model_copy(
        update={
            "forced": Forced(command_id=command_id, actor=actor, discard=discard),
            "commands": (*record.commands, command_id)[-MOST_COMMANDS:],
            "updated_at": at,
        }
    )
