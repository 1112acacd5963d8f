"""What is answered to a storage commitment request, and when it is tried again (PS3.4 J)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from hermes_common.dicom import status
from hermes_common.dicom.commitment import CommitmentRequest, CommitmentResult, Reference

SETTLE: Final = timedelta(seconds=30)
"""How long an instance that is not found is looked for again: it may just be on its way through another receiver."""
PATIENCE: Final = timedelta(days=1)
"""How long a request waits for bus and object store to say what is held."""
MAX_ATTEMPTS: Final = 12
"""How often the answer is offered to the sender: over some five hours."""
MAX_WAITING: Final = 1_000
"""Requests that may wait at once; beyond, senders are told to come again."""

_FIRST: Final = timedelta(seconds=5)
_LONGEST: Final = timedelta(hours=1)
_LOOK_FIRST: Final = 0.2
_LOOK_LONGEST: Final = 5.0


def missing(request: CommitmentRequest, held: Mapping[str, str]) -> tuple[str, ...]:
    """Return the SOP instance UIDs of ``request`` that are not in ``held`` (SOP instance UID -> SOP class UID)."""
    return tuple(item.sop_instance for item in request.references if item.sop_instance not in held)


def result_of(request: CommitmentRequest, held: Mapping[str, str]) -> CommitmentResult:
    """Return the answer: committed is what is held under the SOP class that the sender named, and nothing else."""
    committed: list[Reference] = []
    failed: list[tuple[Reference, int]] = []
    for item in request.references:
        sop_class = held.get(item.sop_instance)
        if sop_class == item.sop_class:
            committed.append(item)
        else:
            failed.append((item, status.NO_SUCH_INSTANCE if sop_class is None else status.CLASS_INSTANCE_CONFLICT))
    return CommitmentResult(request.transaction_uid, tuple(committed), tuple(failed))


def look_again(looks: int) -> timedelta:
    """Return the pause before looking for missing instances again, after ``looks`` looks."""
    return timedelta(seconds=min(_LOOK_FIRST * 2 ** min(looks, 16), _LOOK_LONGEST))


def offer_again(attempts: int) -> timedelta | None:
    """Return the pause before the answer is offered again, or None when it has been offered often enough."""
    return None if attempts >= MAX_ATTEMPTS else min(_FIRST * 2 ** min(attempts - 1, 16), _LONGEST)
