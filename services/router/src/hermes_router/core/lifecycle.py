"""How the live record of a series changes."""

from collections.abc import Collection
from datetime import datetime

from hermes_common.events import Decision
from hermes_common.keys import decision_key, manifest_key
from hermes_common.manifest import Manifest
from hermes_common.records import BatchRef, PendingCommand, SeriesRecord, SeriesState
from hermes_router.core.quiet import Waited

MOST_COMMANDS = 50
"""Commands that a record remembers, so that none is carried out twice."""


def with_batch(
    record: SeriesRecord | None,
    manifest: Manifest,
    decision: Decision | None,
    at: datetime,
    waited: Waited,
    *,
    in_study: bool,
) -> SeriesRecord:
    """Return the record with one more batch, decided but not yet said. No decision: only duplicates came.

    ``in_study``: the rules about its study are to be applied when that is complete.
    """
    if record is None or record.state is SeriesState.DELETED:
        record = SeriesRecord(
            series_uid=manifest.series_uid,
            study_uid=manifest.study_uid,
            batches=(),
            created_at=at if record is None else record.created_at,
            updated_at=at,
        )
    batch = BatchRef(
        batch_id=manifest.batch_id,
        batch=manifest.batch,
        manifest_key=manifest_key(manifest.series_uid, manifest.batch_id),
        decision_key="" if decision is None else decision_key(manifest.series_uid, manifest.batch_id),
        instances=len(manifest.instances),
        octets=sum(item.octets for item in manifest.instances),
        through_seq=manifest.through_seq,
        outcome="duplicates" if decision is None else _settled(decision),
        deferred=decision is not None and decision.outcome == "deferred",
        awaits_study=in_study and decision is not None,
        received_at=manifest.last_received_at,
        quiet_period=waited.quiet_period,
        quiet_for=waited.quiet_for,
        shortened_by=waited.shortened_by,
        deliveries=() if decision is None else tuple(planned.delivery_id for planned in decision.deliveries),
        rules=() if decision is None else _fired(decision),
        decided_at=at,
    )
    return record.model_copy(
        update={
            "state": SeriesState.OPEN,
            "through_seq": manifest.through_seq,
            "batches": (*record.batches, batch),
            "done_at": None,
            "updated_at": at,
        }
    )


def said(record: SeriesRecord, batch_id: str, at: datetime) -> SeriesRecord:
    """Return the record with everything that follows from a batch published."""
    batches = tuple(
        batch.model_copy(update={"said": True}) if batch.batch_id == batch_id else batch for batch in record.batches
    )
    return record.model_copy(update={"batches": batches, "updated_at": at})


def skipped(record: SeriesRecord, through_seq: int, at: datetime) -> SeriesRecord:
    """Return the record with receptions passed over that are in earlier batches already."""
    return record.model_copy(update={"through_seq": max(record.through_seq, through_seq), "updated_at": at})


def with_command(
    record: SeriesRecord, command_id: str, decisions: dict[str, Decision], key: str, at: datetime
) -> SeriesRecord:
    """Return the record with a person's decision on some of its batches taken, but not yet said."""
    batches = tuple(
        batch.model_copy(
            update={
                "outcome": _outcome(batch, decisions[batch.batch_id]),
                **_open(batch, decisions[batch.batch_id]),
                "more_decisions": (*batch.more_decisions, key)[-MOST_COMMANDS:],
                "deliveries": _with(batch.deliveries, decisions[batch.batch_id]),
                "rules": tuple(dict.fromkeys((*batch.rules, *_fired(decisions[batch.batch_id])))),
            }
        )
        if batch.batch_id in decisions
        else batch
        for batch in record.batches
    )
    return record.model_copy(
        update={
            "batches": batches,
            "commands": (*record.commands, command_id)[-MOST_COMMANDS:],
            "pending": PendingCommand(command_id=command_id, decision_key=key),
            "done_at": None,
            "updated_at": at,
        }
    )


def with_study(
    record: SeriesRecord, decision_id: str, batches: Collection[str], decisions: dict[str, Decision], at: datetime
) -> SeriesRecord:
    """Return the record with its study decided: the named batches await it no more; not yet said."""
    key = decision_key(record.series_uid, decision_id)
    if decisions:
        record = with_command(record, decision_id, decisions, key, at)
    settled = tuple(
        batch.model_copy(update={"awaits_study": False, "deferred": False}) if batch.batch_id in batches else batch
        for batch in record.batches
    )
    return record.model_copy(update={"batches": settled, "updated_at": at})


def command_done(record: SeriesRecord, at: datetime) -> SeriesRecord:
    """Return the record with everything that follows from the pending command published."""
    return record.model_copy(update={"pending": None, "updated_at": at})


def _outcome(batch: BatchRef, decision: Decision) -> str:
    """A batch that goes somewhere stays routed whatever is said later; otherwise the last word counts."""
    return "routed" if batch.deliveries or decision.deliveries else _settled(decision)


def _settled(decision: Decision) -> str:
    """What a batch is while nothing else is said: one that is deferred goes nowhere yet."""
    return "unmatched" if decision.outcome == "deferred" else decision.outcome


def _fired(decision: Decision) -> tuple[str, ...]:
    return tuple(rule.slug for rule in decision.rules if rule.status == "fired")


def _open(batch: BatchRef, decision: Decision) -> dict[str, bool]:
    """Whether the study has a say in a batch after a decision on it; what a person discards, it has not."""
    if decision.outcome == "deferred":
        return {"deferred": True, "awaits_study": True}
    if decision.kind == "manual" and decision.outcome == "discarded":
        return {"deferred": False, "awaits_study": False}
    return {"deferred": batch.deferred, "awaits_study": batch.awaits_study}


def _with(deliveries: tuple[str, ...], decision: Decision) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*deliveries, *(planned.delivery_id for planned in decision.deliveries))))
