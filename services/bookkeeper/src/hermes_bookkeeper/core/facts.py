"""A message of the event stream as a fact: what is taken down, whether or not this release knows its type."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from hermes_bookkeeper.core.text import clean, clean_json, to_json
from hermes_common.events import (
    Event,
    MalformedEventError,
    UnknownEventError,
    decode,
    mpps,
    operations,
    reception,
    study,
)
from hermes_common.events.base import Time

_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@dataclass(frozen=True, slots=True)
class Fact:
    """One event at its place in the stream. ``event`` is None where this release does not know the type."""

    id: str
    seq: int
    type: str
    subject: str
    source: str
    time: datetime
    series_uid: str | None
    delivery_id: str | None
    about: str | None
    """The association, service process, alert or study that it is about, such as ``alert:<id>``."""
    data: str
    """The body as JSON that PostgreSQL takes."""
    event: Event | None


def read(subject: str, headers: Mapping[str, str], body: bytes, seq: int) -> Fact:
    """Return the fact that a message states; raise :class:`MalformedEventError` if it is no event.

    An event of an unknown type is kept whole, so that a release that knows it can make something of it.
    """
    try:
        envelope = decode(headers, body)
    except UnknownEventError:
        return _unknown(subject, headers, body, seq)
    event = envelope.event
    return Fact(
        id=clean(envelope.id),
        seq=seq,
        type=event.type(),
        subject=clean(subject),
        source=clean(envelope.source),
        time=envelope.time,
        series_uid=getattr(event, "series_uid", None),
        delivery_id=_text(getattr(event, "delivery_id", None)),
        about=_about(event),
        data=clean_json(body),
        event=event,
    )


def _about(event: Event) -> str | None:
    match event:
        case reception.AssociationOpened() | reception.AssociationClosed() | reception.AssociationRejected():
            return f"association:{clean(event.association_id)}"
        case operations.ServiceStarted() | operations.ServiceStopped() | operations.ServiceCrashed():
            return f"service:{clean(event.instance)}"
        case operations.AlertRaised() | operations.AlertCleared():
            return f"alert:{clean(event.alert_id)}"
        case study.StudyCompleted() | study.StudyHeld() | mpps.MppsCreated() | mpps.MppsSet():
            return f"study:{event.study_uid}"
        case _:
            return None


def _unknown(subject: str, headers: Mapping[str, str], body: bytes, seq: int) -> Fact:
    event_id = headers.get("ce-id", "")
    if not 1 <= len(event_id) <= 200:
        raise MalformedEventError("not an event: the header ce-id is missing or too long")
    try:
        time = _TIME.validate_python(headers.get("ce-time", ""))
    except ValidationError as error:
        raise MalformedEventError("not an event: the header ce-time is no instant") from error
    data, fields = _data(body)
    return Fact(
        id=clean(event_id),
        seq=seq,
        type=clean(headers["ce-type"]),
        subject=clean(subject),
        source=clean(headers.get("ce-source", "")),
        time=time,
        series_uid=_text(fields.get("series_uid")),
        delivery_id=_text(fields.get("delivery_id")),
        about=None,
        data=data,
        event=None,
    )


def _data(body: bytes) -> tuple[str, Mapping[str, object]]:
    """Return a body as JSON, wrapped in base64 if it is none, and its fields if it is an object."""
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return to_json({"base64": base64.b64encode(body).decode()}), {}
    return to_json(value), value if isinstance(value, dict) else {}


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None
