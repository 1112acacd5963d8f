"""What a target said about keeping a delivery, as events: the same whoever the result came to (PS3.4 J.3.3)."""

import hashlib
from typing import Final

from hermes_common.dicom.commitment import CommitmentResult
from hermes_common.events import CommitmentAnswered, NotKept
from hermes_common.ids import derived_id
from hermes_common.records import TransactionRecord

PART: Final = 500
"""Instances in one event, of either kind."""


def answers(record: TransactionRecord, result: CommitmentResult, where: str) -> list[tuple[CommitmentAnswered, str]]:
    """Return the events of a result with their ids: the same result said again counts once.

    Only when all of them are durable may the result be answered with Success.
    """
    committed = [each.sop_instance for each in result.committed]
    classes = [each.sop_class for each in result.committed]
    failed = [NotKept(sop_instance_uid=each.sop_instance, reason=reason) for each, reason in result.failed]
    text = "\x1f".join((*committed, *classes, *(f"{each.sop_instance_uid}={each.reason}" for each in failed)))
    digest = hashlib.sha256(text.encode()).hexdigest()
    parts = max(1, -(-max(len(committed), len(failed)) // PART))
    return [
        (
            CommitmentAnswered(
                transaction_uid=record.transaction_uid,
                delivery_id=record.delivery_id,
                target=record.target,
                part=part + 1,
                parts=parts,
                committed=committed[part * PART : (part + 1) * PART],
                committed_classes=classes[part * PART : (part + 1) * PART],
                failed=failed[part * PART : (part + 1) * PART],
                where=where,
            ),
            derived_id("commitment.answered", record.transaction_uid, digest, str(part)),
        )
        for part in range(parts)
    ]
