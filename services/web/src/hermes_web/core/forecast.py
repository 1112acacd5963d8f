"""When a disk is full, if it goes on as in the last days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = 7
_FARTHEST: Final = timedelta(days=3650)
_ENOUGH: Final = 0.05


@dataclass(frozen=True, slots=True)
class Day:
    """What was received and what was deleted in a day, in octets."""

    received: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Growth a day in octets (negative: it shrinks), and when the disk is full; None if it is not filling up."""

    growth: float
    full_at: datetime | None


def forecast(days: Sequence[Day], free: float, at: datetime) -> Forecast | None:
    """Return the forecast from the mean of the last days, or None if nothing came in them.

    With retention at work what is deleted balances what comes: then nothing fills up, and no date is made up.
    """
    received = sum(day.received for day in days)
    if not days or received == 0:
        return None
    growth = (received - sum(day.deleted for day in days)) / len(days)
    if growth <= _ENOUGH * received / len(days):
        return Forecast(growth, None)
    left = free / growth
    return Forecast(growth, at + timedelta(days=left) if left < _FARTHEST.days else None)
