"""Positions in lists: opaque to clients, and refused if they are not ours."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime

from hermes_web.errors import MalformedError


def encode(time: datetime, key: str) -> str:
    """Return the cursor that continues after the row of that time and key."""
    return base64.urlsafe_b64encode(json.dumps([time.isoformat(), key]).encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[datetime, str]:
    """Return what :func:`encode` was given; raise :class:`MalformedError` for anything else."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        time, key = parts
        at = datetime.fromisoformat(time)
    except (ValueError, TypeError, binascii.Error) as error:
        raise MalformedError("cursor is not one that a list returned as 'next'") from error
    if at.tzinfo is None or not isinstance(key, str) or "\0" in key:
        raise MalformedError("cursor is not one that a list returned as 'next'")
    return at, key


def limited(value: int | None, default: int = 50, most: int = 500) -> int:
    """Return a page size within bounds; raise :class:`MalformedError` below 1 or above ``most``."""
    if value is None:
        return default
    if not 1 <= value <= most:
        raise MalformedError(f"limit must be between 1 and {most}")
    return value


def split(rows: Sequence[object], limit: int) -> bool:
    """Return whether there is more than ``limit``: a query asks for one row more than it shows."""
    return len(rows) > limit
