"""The spans of the dispatcher: the delivery, recorded when it ends, and its attempts.

Both know the delivery by its id, so an attempt can belong to a delivery whose end is hours away and somebody else's.
What a person restarts has a trace of its own, which links to that of the series.
"""

from contextlib import AbstractContextManager
from datetime import datetime

from hermes_common.records import DONE, DeliveryRecord, DeliveryState
from hermes_common.runtime import tracing
from hermes_common.runtime.clock import now
from hermes_common.runtime.tracing import LINKED_AFTER, Attributes

_ENDS = DONE - {DeliveryState.DISMISSED} | {DeliveryState.FAILED}
"""What is dismissed has ended before."""


def attempt(record: DeliveryRecord, endpoint: str) -> AbstractContextManager[None]:
    """Record an attempt: as a part of its delivery; long after that has begun, as a trace that links to it."""
    delivery = _context(record)
    attributes: Attributes = {**_named(record), "attempt": record.attempt, "endpoint": endpoint}
    if now() - _begun(record) > LINKED_AFTER:
        return tracing.span("attempt", attributes, links=(delivery,))
    return tracing.span("attempt", attributes, delivery)


def ended(record: DeliveryRecord) -> None:
    """Record a delivery that has come to its end, if this is one; to be called once for each end."""
    if not tracing.is_on() or record.state not in _ENDS:
        return
    attributes: Attributes = {**_named(record), "attempt": record.attempt, "state": record.state.value}
    parent, links = (None, (record.trace,)) if record.generation else (record.trace, ())
    tracing.record("delivery", attributes, _begun(record), now(), parent, _context(record), links)


def _begun(record: DeliveryRecord) -> datetime:
    return record.restarted_at or record.created_at


def _context(record: DeliveryRecord) -> str | None:
    if record.generation:
        return tracing.root("delivery", f"{record.delivery_id}.{record.generation}")
    return tracing.child(record.trace, "delivery", record.delivery_id)


def _named(record: DeliveryRecord) -> Attributes:
    return {
        "delivery": record.delivery_id,
        "batch": record.batch_id,
        "target": record.target,
        "series": tracing.digest(record.series_uid),
        "instances": record.instances,
        "octets": record.octets,
    }
