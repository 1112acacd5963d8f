"""How long to wait before trying again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

FIRST: Final = timedelta(milliseconds=250)
LONGEST: Final = timedelta(seconds=4)
"""Work is to go on within ten seconds of the return of what was away, however long that was."""


def delay(attempt: int, jitter: float) -> timedelta:
    """Return the wait before ``attempt`` (1 is the first retry): doubling, bounded, spread by ``jitter`` in [0, 1)
    over its half.
    """
    full = min(FIRST * (1 << min(attempt - 1, 16)), LONGEST)
    return full * (0.5 + jitter / 2)
