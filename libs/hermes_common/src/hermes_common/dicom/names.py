"""Names of attributes: the one form in which tags are announced, kept, and asked for in rules.

An attribute of PS3.6 is its keyword; one that has none, a private one above all, is ``(GGGG,EEEE)`` in capitals; one
inside a sequence is a path of these with dots.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from hermes_common.dicom.standard import entry_of, tags_by_keyword, vr_of

MAX_PATH: Final = 8
MAX_NAME: Final = 200
_TAG: Final = re.compile(r"\(\s*([0-9A-Fa-f]{4})\s*,\s*([0-9A-Fa-f]{4})\s*\)")
_PIXELS: Final = 0x7FE00000
"""From this group on stand the pixels (PS3.3 C.7.6.3), and nothing is read."""
_BULK: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
_NO_PRIVATE_GROUPS: Final = frozenset({0x0001, 0x0003, 0x0005, 0x0007, 0xFFFF})
"""PS3.5 7.8.1."""


def canonical_name(name: str) -> str:
    """Return ``name`` with tag numbers in capitals without spaces, or as keywords where the standard has one.

    A name of any other shape comes back as it is: whether it exists is asked later.
    """
    if "(" not in name:
        return name
    return _TAG.sub(lambda found: _tag_name(found[1], found[2]), name)


def _tag_name(group: str, element: str) -> str:
    number = int(group + element, 16)
    try:
        keyword = entry_of(number)[4]
    except KeyError:
        keyword = ""
    return keyword if tags_by_keyword().get(keyword) == number else f"({group.upper()},{element.upper()})"


def number_of(part: str) -> int | None:
    """Return the number of a keyword or of ``(gggg,eeee)``, None if ``part`` is neither."""
    if found := _TAG.fullmatch(part):
        return int(found[1] + found[2], 16)
    return tags_by_keyword().get(part) if part else None


def is_private(number: int) -> bool:
    """Return whether a tag number is of a private group (PS3.5 7.8)."""
    return bool(number >> 16 & 1)


def creator_of(number: int) -> int | None:
    """Return the number of the private creator that reserves the block of a private data element (PS3.5 7.8.1)."""
    return number & 0xFFFF0000 | (number >> 8 & 0xFF) if is_private(number) and number & 0xFFFF >= 0x1000 else None


def collecting_problem(name: str) -> str | None:
    """Return why the values of ``name`` cannot be taken out of every image, None if they can."""
    if len(name) > MAX_NAME:
        return f"{name[:40]}… is longer than {MAX_NAME} characters"
    *containers, last = name.split(".")
    if len(containers) >= MAX_PATH:
        return f"{name} is a path of more than {MAX_PATH} parts"
    for part in (*containers, last):
        problem = _part_problem(part)
        if problem is not None:
            return problem
    for part in containers:
        if _vr(part) not in {"SQ", None}:
            return f"{part} is not a sequence, so nothing is inside it"
    if _vr(last) in _BULK:
        return f"{last} holds binary data ({_vr(last)}), which is not read"
    return None


def _part_problem(part: str) -> str | None:
    number = number_of(part)
    if number is None:
        near = get_close_matches(part, tags_by_keyword(), 1, 0.8) if 3 < len(part) < 80 else []
        hint = f"; did you mean {near[0]}?" if near else "; write a keyword of DICOM, (gggg,eeee), or a path with dots"
        return f"there is no attribute {part or 'without a name'}{hint}"
    if number >= _PIXELS:
        return f"{part} stands with or behind the pixels, which are not read"
    if number >> 16 <= 0x0002:
        return f"{part} is not in the data set of an image"
    if is_private(number):
        return _private_problem(part, number)
    return None if _vr(part) else f"{part} is not in the dictionary of DICOM, and its group is not private"


def _private_problem(part: str, number: int) -> str | None:
    element = number & 0xFFFF
    if number >> 16 in _NO_PRIVATE_GROUPS or not (0x0010 <= element <= 0x00FF or element >= 0x1000):
        return f"{part} is no private attribute: those are (gggg,0010-00FF), the creators, and (gggg,1000-FFFF)"
    return None


def _vr(part: str) -> str | None:
    """Return the VR by dictionary, None for a private tag or one that the dictionary does not have."""
    try:
        return vr_of(number_of(part) or 0)
    except KeyError:
        return None
