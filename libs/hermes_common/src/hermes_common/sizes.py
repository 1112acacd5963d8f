"""Amounts of storage as people write them in configuration: ``500GB``, ``1.5TB``; units are powers of 1000."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4, "PB": 1000**5}
LARGEST = 10**18
"""Octets; nothing larger is meant."""
_TEXT = re.compile(r"(\d{1,19}(?:\.\d{1,3})?)\s*([KMGTP]?)(B?)", re.ASCII)


def parse_size(value: object) -> int:
    """Return the octets that a text such as ``500GB`` stands for, or a number; raise ``ValueError`` otherwise."""
    octets = value if isinstance(value, int) and not isinstance(value, bool) else _read(value)
    if not 0 <= octets <= LARGEST:
        raise ValueError(f"{value!r} is out of range: at most {format_size(LARGEST)}")
    return octets


def _read(value: object) -> int:
    match = _TEXT.fullmatch(value.strip().upper()) if isinstance(value, str) else None
    if match is None or (match[2] and not match[3]):
        raise ValueError(f"{value!r} is not an amount of storage: write a number and MB, GB or TB, such as 500GB")
    return int(Decimal(match[1]) * _UNITS[match[2] + match[3] if match[2] else ""])


def format_size(octets: int) -> str:
    """Return the shortest text that :func:`parse_size` reads as exactly ``octets``."""
    for unit in ("PB", "TB", "GB", "MB", "KB"):
        whole, rest = divmod(octets, _UNITS[unit])
        if whole and rest * 1000 % _UNITS[unit] == 0:
            return f"{whole}.{rest * 1000 // _UNITS[unit]:03}".rstrip("0").rstrip(".") + unit
    return str(octets)


def size_words(octets: int) -> str:
    """Return an amount for people, in its largest unit, such as ``1.5 GB``."""
    for unit in ("PB", "TB", "GB", "MB", "KB"):
        if octets >= _UNITS[unit]:
            amount = octets / _UNITS[unit]
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
    return f"{octets} B"


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["500GB", "2TB"]}),
]
"""Octets, written as text."""
