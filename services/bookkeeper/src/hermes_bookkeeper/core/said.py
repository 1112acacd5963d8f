"""What was said about one thing, in the order of the stream: what a row is folded from.

A row that is derived from everything said about it, each event once and in order, is the same however the events
arrived. So nothing here is counted up or overwritten: it is derived again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from hermes_common.events import EVENT_TYPES, Event

Row = dict[str, Any]
"""Column -> value."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event with its id, its place in the stream, and when it was said."""

    id: str
    seq: int
    time: datetime
    event: Event


def recall(event_id: str, seq: int, time: datetime, type_name: str, data: Mapping[str, Any]) -> Said | None:
    """Return a recorded event; None if it is of a type that this release does not know or cannot read.

    An event may have been recorded by a release that did not know its type, and so did not check it.
    """
    model = EVENT_TYPES.get(type_name)
    if model is None:
        return None
    try:
        return Said(event_id, seq, time, model.model_validate(data))
    except ValidationError:
        return None
