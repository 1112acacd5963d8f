"""Following the events on the bus, and one line for each."""

import json
from collections.abc import Mapping
from typing import Any

from nats.aio.msg import Msg

from hermes_cli.buslink import BusLink
from hermes_cli.output import clean, say, when

_SHORT = 120
_FIRST = ("series_uid", "target", "state", "instances", "attempt", "missing", "delivery_id", "reason")
_LEFT_OUT = frozenset({"tags", "senders", "before", "after", "last_lines", "document"})


async def follow(servers: str, subject: str, *, count: int, as_json: bool) -> None:
    """Print what is published from now on; return after ``count`` messages, unless that is 0.

    Raises ``ConnectionError`` with the reason when the bus does not let us in within a few seconds.
    """
    link = BusLink(servers, "hermes-events-tail")
    await link.connect()
    connection = link.client
    try:
        subscription = await connection.subscribe(subject)
        await connection.flush()
        seen = 0
        async for message in subscription.messages:
            say(json.dumps(as_object(message)) if as_json else line(message))
            seen += 1
            if seen == count:
                return
    finally:
        await link.close()


def as_object(message: Msg) -> dict[str, Any]:
    """Return a message as an object: subject, CloudEvents attributes, data."""
    headers: Mapping[str, str] = message.headers or {}
    attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    return {"subject": message.subject, **attributes, "data": _data(message.data)}


def line(message: Msg) -> str:
    """Return a message as one line: time, type, who said it, and what it says in brief."""
    headers: Mapping[str, str] = message.headers or {}
    data = _data(message.data)
    kind = headers.get("ce-type", message.subject).removeprefix("hermes.v1.")
    words = _brief(data) if isinstance(data, dict) else clean(data)[:_SHORT]
    return clean(
        f"{when(headers.get('ce-time')) or '-'}  {kind:<22}  {headers.get('ce-source', '-'):<20}  {words}"
    ).rstrip()


def _brief(data: dict[str, Any]) -> str:
    names = [name for name in _FIRST if name in data] + [name for name in data if name not in _FIRST]
    parts = [
        f"{name}={_value(data[name])}"
        for name in names
        if name not in _LEFT_OUT and data[name] not in ("", None, [], {})
    ]
    return " ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{len(value)}]"
    if isinstance(value, dict):
        return "{...}"
    text = str(value)
    text = text if len(text) <= _SHORT else f"{text[:_SHORT]}..."
    return json.dumps(text, ensure_ascii=False) if " " in text else text


def _data(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
