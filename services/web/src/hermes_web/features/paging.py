"""What lists have in common."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from hermes_common.durations import parse_duration
from hermes_web.core import cursor
from hermes_web.errors import MalformedError

WITHIN_MOST = timedelta(days=3650)
Item = TypeVar("Item", bound=BaseModel)


class View(BaseModel):
    """A row as it is shown."""

    model_config = ConfigDict(frozen=True, from_attributes=True, extra="ignore")


class Listing(BaseModel, Generic[Item]):
    """A part of a list; ``next`` is the cursor of what follows, or null at the end."""

    items: list[Item]
    next: str | None = None


def listing(items: Sequence[Item], limit: int, position: Callable[[Item], tuple[datetime, str]]) -> Listing[Item]:
    """Return the first ``limit`` of the items, and where to go on if there were more."""
    shown = list(items[:limit])
    more = cursor.encode(*position(shown[-1])) if len(items) > limit and shown else None
    return Listing(items=shown, next=more)


def within(text: str) -> timedelta | None:
    """Return the span that a list is asked to look back, or None for all of it; raise :class:`MalformedError`."""
    if not text:
        return None
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise MalformedError(f"within: {error}") from error
    if span > WITHIN_MOST:
        raise MalformedError("within: at most 3650d")
    return span
