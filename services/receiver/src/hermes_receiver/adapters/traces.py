"""The spans of the receiver. What an association is traced as follows from its id: the uploads of its instances come
after it, in another process, and perhaps after the next start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from hermes_common.events import (
    AssociationAborted,
    AssociationClosed,
    AssociationOpened,
    AssociationRejected,
    Event,
    InstanceQuarantined,
    InstanceRefused,
    InstanceStored,
)
from hermes_common.runtime import tracing
from hermes_common.runtime.clock import now


def context_of(event: Event) -> str | None:
    """Return the context of the association that an event is about; None without traces."""
    match event:
        case (
            AssociationOpened()
            | AssociationClosed()
            | AssociationAborted()
            | AssociationRejected()
            | InstanceStored()
            | InstanceRefused()
            | InstanceQuarantined()
        ):
            return tracing.root("association", event.association_id)
        case _:
            return None


def said(event: Event) -> None:
    """Record an association once its end is said."""
    if not tracing.is_on() or not isinstance(event, AssociationClosed | AssociationAborted):
        return
    attributes: tracing.Attributes = {
        "association": event.association_id,
        "instances": event.instances,
        "refused": event.refused,
        "octets": event.octets,
        "state": "closed" if isinstance(event, AssociationClosed) else "aborted",
    }
    ended = now()
    tracing.record("association", attributes, ended - event.duration, ended, context=context_of(event))


def uploaded(events: Iterable[InstanceStored | InstanceQuarantined], begun: datetime) -> None:
    """Record a batch of uploads, by association and series."""
    if not tracing.is_on():
        return
    instances: Counter[tuple[str, str]] = Counter()
    octets: Counter[tuple[str, str]] = Counter()
    for event in events:
        series = tracing.digest(event.series_uid) if isinstance(event, InstanceStored) else ""
        instances[event.association_id, series] += 1
        octets[event.association_id, series] += event.octets
    for (association, series), count in instances.items():
        attributes: tracing.Attributes = {
            "association": association,
            "instances": count,
            "octets": octets[association, series],
            "series": series,
            "state": "stored" if series else "quarantined",
        }
        tracing.record("upload", attributes, begun, now(), parent=tracing.root("association", association))
