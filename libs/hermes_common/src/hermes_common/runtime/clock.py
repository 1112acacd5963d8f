"""The clock and the randomness of the process: what cores are given as arguments."""

import os
import time
from datetime import UTC, datetime

from hermes_common.ids import uuid7


def now() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a new UUID whose order is that of its making (version 7), with hyphens."""
    return str(uuid7(time.time_ns() // 1_000_000, os.urandom(10)))
