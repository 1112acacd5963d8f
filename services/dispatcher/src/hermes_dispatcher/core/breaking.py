"""The breaker of a target: an outage as a record, from the failed test that opens it to the passed one that ends it.

An attempt that ends because the target cannot be reached, or does not let us in, is followed by the target's own
test (for DICOM a C-ECHO). Passed, the trouble was the attempt's own and counts as a try. Failed, the target is down:
that is said once, deliveries wait without using up tries, and the test is made again and again by one dispatcher at a
time until it passes.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypeVar

from hermes_common.records import TargetRecord
from hermes_common.targettests import TargetTested
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble

Outage = TypeVar("Outage", bound=TargetRecord)

EVERY = timedelta(seconds=3)
"""From the end of a test to the next one."""

STEP = timedelta(seconds=4)
"""Time limit of each step of such a test."""

LONGEST = timedelta(seconds=20)
"""Of a whole test; if whoever makes it dies, another one makes the next after this time."""

_SUSPECT = frozenset({Trouble.UNREACHABLE, Trouble.REJECTED})


def suspicion(left: Collection[NotDelivered]) -> NotDelivered | None:
    """Return what raises the suspicion that the target as a whole is down, or None if nothing does."""
    return next((item for item in left if item.trouble in _SUSPECT), None)


def failure(tested: TargetTested) -> str:
    """Return in words why a test failed."""
    return next((f"{step.name}: {step.detail}" for step in tested.steps if not step.ok), "its test failed")


def opened(target: str, outage: str, reason: str, now: datetime) -> TargetRecord:
    """Return the record of an outage that begins."""
    return TargetRecord(target=target, outage=outage, since=now, reason=reason[:1500], next_test_at=now + EVERY)


def is_due(record: TargetRecord, now: datetime) -> bool:
    """Return whether the next test may be made."""
    return not record.is_up and now >= record.next_test_at


def claimed(record: Outage, now: datetime) -> Outage:
    """Return the record of an outage whose next test is ours."""
    return record.model_copy(update={"next_test_at": now + LONGEST})


def tested(record: Outage, failure: str, now: datetime) -> Outage:
    """Return the record after a test: over if it passed (no ``failure``), or with the next one planned."""
    if not failure:
        return record.model_copy(update={"is_up": True})
    return record.model_copy(update={"reason": failure[:1500], "next_test_at": now + EVERY})
