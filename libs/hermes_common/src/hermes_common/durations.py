"""Spans of time as people write them in configuration: ``30s``, ``10m``, ``12h``, ``7d``."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = timedelta(days=36_500)
"""No span is longer: added to a date of ours it gives a date that every part can still write."""
_TEXT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])")


def parse_duration(value: object) -> timedelta:
    """Return the span that a text such as ``90s`` or ``7d`` stands for; raise ``ValueError`` otherwise.

    Nothing longer than :data:`LONGEST` is accepted.
    """
    span = value if isinstance(value, timedelta) else _read(value)
    if span > LONGEST:
        raise ValueError(f"{value!r} is too long: at most {LONGEST.days}d")
    return span


def _read(value: object) -> timedelta:
    match = _TEXT.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a span of time: write a number and s, m, h or d, such as 30s, 10m or 7d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """Return the shortest text that :func:`parse_duration` reads as ``value`` (to the millisecond)."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit in ("d", "h", "m"):
        if milliseconds and milliseconds % (_UNITS[unit] * 1000) == 0:
            return f"{milliseconds // (_UNITS[unit] * 1000)}{unit}"
    return f"{milliseconds / 1000:g}s" if milliseconds % 1000 else f"{milliseconds // 1000}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]$", "examples": ["30s", "10m", "7d"]}),
]
