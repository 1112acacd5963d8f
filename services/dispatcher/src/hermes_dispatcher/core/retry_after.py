"""How long a server asks to be left alone: the field Retry-After (RFC 9110 10.2.3)."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MOST_DIGITS = 9
"""Of a number of seconds; a longer one is no answer that anybody meant."""


def asked_wait(value: str | None, date: str | None, now: datetime) -> timedelta | None:
    """Return for how long the answer asks to wait; None if it does not, or says nothing that can be read.

    ``value`` is Retry-After: seconds, or a date. A date is counted from ``date``, the field Date of the same answer, so
    that a clock that is wrong does no harm; without one, from ``now``, the time of the answer.
    """
    text = "" if value is None else value.strip()
    if text.isascii() and text.isdigit():
        seconds = int(text) if len(text) <= MOST_DIGITS else 0
        return timedelta(seconds=seconds) if seconds else None
    until = _read(text)
    if until is None:
        return None
    said = _read(date or "")
    wait = until - (now if said is None else said)
    return wait if wait > timedelta(0) else None


def _read(text: str) -> datetime | None:
    """Return an HTTP date, of any of its three forms (RFC 9110 5.6.7)."""
    try:
        read = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read
