"""To and from the wire: CloudEvents 1.0 in NATS binary mode.

EventError
├── MalformedEventError   headers or data are not what the type says
└── UnknownEventError     a type that this release does not know (a newer release published it)
"""

from collections.abc import Mapping

from pydantic import ValidationError

from hermes_common.events.base import Envelope, Event


class EventError(ValueError):
    """A message that cannot be read as an event."""


class MalformedEventError(EventError):
    """The headers or the data are not what the event's type says."""


class UnknownEventError(EventError):
    """The type is none that this release knows."""


def encode(envelope: Envelope) -> tuple[str, dict[str, str], bytes]:
    """Return subject, headers and body of an event. The body is JSON that a person can read."""
    event = envelope.event
    headers = {
        "ce-specversion": "1.0",
        "ce-id": envelope.id,
        "ce-type": event.type(),
        "ce-source": envelope.source,
        "ce-time": envelope.time.isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
        "Nats-Msg-Id": envelope.id,
    }
    if envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    return event.subject(), headers, event.model_dump_json().encode()


def decode(headers: Mapping[str, str] | None, body: bytes) -> Envelope:
    """Return the event of a message; raise :class:`UnknownEventError` or :class:`MalformedEventError`."""
    from hermes_common.events import EVENT_TYPES

    if not headers or "ce-type" not in headers:
        raise MalformedEventError("not an event: the header ce-type is missing")
    model = EVENT_TYPES.get(headers["ce-type"])
    if model is None:
        raise UnknownEventError(f"unknown type of event {headers['ce-type'][:200]!r}")
    try:
        event: Event = model.model_validate_json(body)
        return Envelope.model_validate(
            {
                "id": headers.get("ce-id", ""),
                "source": headers.get("ce-source", ""),
                "time": headers.get("ce-time", ""),
                "traceparent": headers.get("traceparent"),
                "event": event,
            }
        )
    except ValidationError as error:
        raise MalformedEventError(f"{headers['ce-type']}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
