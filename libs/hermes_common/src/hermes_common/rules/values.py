"""Values as text to values that compare, each by the rules of its type (PS3.5 6.2).

Every converter takes the text and the present time (aware; its zone is the one in which a DICOM time without an
offset is read) and returns the value, None for a blank one, or raises :class:`UnreadableError`.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from math import isfinite
from typing import Any

from hermes_common.rules.dictionary import Kind

PADDING = " \0\t\r\n"
"""What does not count at either end of a value; DICOM pads to even length with spaces or NUL."""

Convert = Callable[[str, datetime], Any]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = {name[:length]: i for i, name in enumerate(WEEKDAYS, 1) for length in (3, len(name))}
_WEEKDAY |= {str(i): i for i in range(1, 8)}
_IN_A_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12, "Y": 1}
_EXACT = 2**53
"""From here on a float does not hold every whole number."""
_CACHED = 4096
"""Texts whose reading is remembered, by type: a site's numbers, dates and times are mostly the same ones."""

_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_DATE = re.compile(r"([0-9]{4})([-.]?)([0-9]{2})\2([0-9]{2})")
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_DATETIME = re.compile(r"([0-9]{4}-?[0-9]{2}-?[0-9]{2})(?:[T ]?([0-9:.]{2,15}))?(?:([+-])([0-9]{2}):?([0-9]{2}))?")


class UnreadableError(ValueError):
    """A value that is not of the type of its field; the message says so for people."""

    def __init__(self, raw: str, kind: str) -> None:
        super().__init__(f"{shorten(raw)!r} is not {kind}")


def shorten(value: str, length: int = 64) -> str:
    """Return ``value``, cut to ``length`` characters."""
    return value if len(value) <= length else f"{value[: length - 1]}…"


def to_text(raw: str, _now: datetime) -> str | None:
    """Return the text without its padding."""
    return raw.strip(PADDING) or None


@lru_cache(maxsize=_CACHED)
def read_number(raw: str) -> int | float | None:
    """Return a decimal number; DS and IS allow a sign and an exponent. Whole numbers of any size are exact."""
    text = raw.strip(PADDING)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as exc:
        raise UnreadableError(raw, "a number") from exc
    if "_" in text or not text.isascii() or not isfinite(value):
        raise UnreadableError(raw, "a number")
    if abs(value) >= _EXACT and text.lstrip("+-").isdigit():
        return int(text)
    return value


def to_number(raw: str, _now: datetime) -> int | float | None:
    """Return a decimal number: see :func:`read_number`."""
    return read_number(raw)


def to_age(raw: str, _now: datetime) -> float | None:
    """Return an age in years: ``018M`` is 1.5."""
    return _age(raw)


@lru_cache(maxsize=_CACHED)
def _age(raw: str) -> float | None:
    text = raw.strip(PADDING)
    if not text:
        return None
    found = _AGE.fullmatch(text)
    if found is None:
        raise UnreadableError(raw, "an age such as 045Y, 018M, 006W or 010D")
    return int(found[1]) / _IN_A_YEAR[found[2]]


def to_date(raw: str, _now: datetime) -> date | None:
    """Return a date: ``20260131``, also ``2026-01-31`` and the old ``2026.01.31``."""
    return _date(raw)


@lru_cache(maxsize=_CACHED)
def _date(raw: str) -> date | None:
    text = raw.strip(PADDING)
    if not text:
        return None
    found = _DATE.fullmatch(text)
    try:
        if found is not None:
            return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        pass
    raise UnreadableError(raw, "a date such as 20260131")


def to_time(raw: str, _now: datetime) -> int | None:
    """Return a time of day in microseconds: ``0830``, ``08:30``, ``083015.25``; second 60 is a leap second."""
    return _time(raw)


@lru_cache(maxsize=_CACHED)
def _time(raw: str) -> int | None:
    text = raw.strip(PADDING)
    if not text:
        return None
    found = _TIME.fullmatch(text)
    if found is not None:
        hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
        if hour < 24 and minute < 60 and second <= 60:
            return (hour * 3600 + minute * 60 + second) * 1_000_000 + int((found[4] or "0").ljust(6, "0"))
    raise UnreadableError(raw, "a time such as 083000")


def to_instant(raw: str, now: datetime) -> datetime | None:
    """Return a date and time in UTC; without an offset it is read in the zone of ``now``.

    What is left out of the time counts as 0; a value without the day is not readable.
    """
    text = raw.strip(PADDING)
    if not text:
        return None
    found = _DATETIME.fullmatch(text)
    if found is not None:
        try:
            return _instant(found, now)
        except (ValueError, OverflowError):
            pass
    raise UnreadableError(raw, "a date and time such as 20260131083000")


def to_wall(raw: str, now: datetime) -> datetime | None:
    """Return a date and time as the clocks in the zone of ``now`` show it, without a zone."""
    instant = to_instant(raw, now)
    return None if instant is None else instant.astimezone(now.tzinfo).replace(tzinfo=None)


def _instant(found: re.Match[str], now: datetime) -> datetime:
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    day = to_date(found[1], now) or date.min
    micros = to_time(found[2], now) if found[2] else 0
    zone = now.tzinfo
    if found[3]:
        offset = timedelta(hours=int(found[4]), minutes=int(found[5]))
        zone = timezone(offset if found[3] == "+" else -offset)
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight + timedelta(microseconds=micros or 0)).astimezone(UTC)


def to_weekday(raw: str, _now: datetime) -> int | None:
    """Return a day of the week, Monday 1 to Sunday 7, from its English name, the first three letters, or the number."""
    text = raw.strip(PADDING).lower()
    if not text:
        return None
    if text not in _WEEKDAY:
        raise UnreadableError(raw, "a day such as monday")
    return _WEEKDAY[text]


CONVERTERS: dict[Kind, Convert] = {
    Kind.TEXT: to_text,
    Kind.PERSON: to_text,
    Kind.NUMBER: to_number,
    Kind.DATE: to_date,
    Kind.TIME: to_time,
    Kind.DATETIME: to_wall,
    Kind.AGE: to_age,
    Kind.WEEKDAY: to_weekday,
    Kind.UNTYPED: to_text,
    Kind.SEQUENCE: to_text,
    Kind.BINARY: to_text,
}


def person_forms(value: str) -> tuple[str, ...]:
    """Return what a person's name may be compared as: the whole, and each of its representations (PS3.5 6.2.1).

    The representations (alphabetic, ideographic, phonetic) are separated by ``=``; empty components at the end
    do not count.
    """
    if "=" not in value:
        return (value.rstrip("^ "),)
    groups = (group.strip(PADDING).rstrip("^ ") for group in value.split("="))
    return (value, *(group for group in groups if group))
