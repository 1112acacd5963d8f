"""The lives of series as messages of the stream: received, completed, routed to two targets, delivered."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hermes_common.dicom.tags import DEFAULT_TAGS
from hermes_common.events import (
    Decision,
    DeliveryProgressed,
    DeliveryQueued,
    DeliveryStarted,
    DeliverySucceeded,
    Envelope,
    Event,
    InstanceOutcome,
    InstanceStored,
    PlannedDelivery,
    Sender,
    SeriesCompleted,
    SeriesRouted,
    encode,
)

SENDER = Sender(calling_aet="CT1", called_aet="HERMES", address="10.0.0.1")
Message = tuple[str, dict[str, str], bytes]
"""Subject, headers, body."""


def lives(root: str, series: int, instances: int) -> Iterator[Message]:
    """Yield the messages of so many series of so many instances, each with sixty attributes."""
    tags = {name: [f"value of {name}"] for name in DEFAULT_TAGS[:57]}
    tags |= {"Modality": ["CT"], "PatientID": ["P1"], "PatientName": ["FAMILY1^GIVEN1"]}
    for number in range(series):
        yield from _life(f"{root}.{number}", instances, tags)


def _life(uid: str, instances: int, tags: dict[str, list[str]]) -> Iterator[Message]:
    at, batch_id = datetime.now(UTC), str(uuid.uuid4())
    which = {"series_uid": uid, "study_uid": f"{uid}.99"}
    for index in range(instances):
        yield _message(_stored(uid, index, at, tags, which))
    size = {"instances": instances, "octets": instances * 525_000}
    span = {"first_received_at": at, "last_received_at": at, "quiet_period": timedelta(seconds=10)}
    batch = {"batch_id": batch_id, "batch": 1, "manifest_key": f"manifests/{uid}", "tags": tags}
    yield _message(SeriesCompleted(**which, **batch, **size, **span))
    plans = [PlannedDelivery(delivery_id=str(uuid.uuid4()), target=name) for name in ("pacs", "archive")]
    decision = Decision(
        batch_id=batch_id, kind="rules", outcome="routed", revision=1, deliveries=plans, decided_at=at, key=uid
    )
    yield _message(SeriesRouted(**which, batch=1, decision=decision))
    for plan in plans:
        of = {**which, "delivery_id": plan.delivery_id, "batch_id": batch_id, "target": plan.target}
        yield _message(DeliveryQueued(**of, manifest_key=f"manifests/{uid}", **size))
        yield _message(DeliveryStarted(**of, attempt=1, missing=instances, dispatcher="d1"))
        for first in range(0, instances, 50):
            outcomes = [
                InstanceOutcome(index=index, sop_instance_uid=f"{uid}.{index}", result="delivered", status=0, at=at)
                for index in range(first, min(first + 50, instances))
            ]
            yield _message(DeliveryProgressed(**of, attempt=1, outcomes=outcomes))
        yield _message(DeliverySucceeded(**of, attempt=1, instances=instances))


def _stored(uid: str, index: int, at: datetime, tags: dict[str, list[str]], which: dict[str, str]) -> InstanceStored:
    return InstanceStored(
        **which,
        reception_id=str(uuid.uuid4()),
        association_id=f"a-{uid}",
        sop_instance_uid=f"{uid}.{index}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        key=f"{uid}/{index}.dcm",
        digest=f"{index:064x}",
        octets=525_000,
        received_at=at,
        sender=SENDER,
        tags=tags,
    )


def _message(event: Event) -> Message:
    event_id = getattr(event, "reception_id", None) or str(uuid.uuid4())
    return encode(Envelope(id=event_id, source="bench", time=datetime.now(UTC), event=event))
