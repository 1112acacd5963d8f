"""Why a data set cannot be changed as its target asks.

Reasons are kept with deliveries, said in events and shown on pages, so none of them quotes a value of the data set:
they name the attribute and the kind of mistake. What a library says is never passed on, it quotes values as it likes.
"""

import re
from typing import Final

from pydicom.datadict import dictionary_has_tag, keyword_for_tag

_TAG: Final = re.compile(r"\(([0-9A-Fa-f]{4}), ?([0-9A-Fa-f]{4})\)")
_MOST: Final = 3


class UnchangeableError(Exception):
    """It is not sent; the message says why, and what would have to be different. It holds no value of the data set."""


def named(tag: int) -> str:
    """Return an attribute for people: its keyword and its tag, or its tag where no dictionary has it."""
    digits = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    keyword = keyword_for_tag(tag)
    return f"{keyword} {digits}" if keyword else digits


def kind_of(error: Exception) -> str:
    """Return what a library found wrong, without its words: the kind of error, and the attributes that it names.

    Only those of the dictionary: what looks like another tag may be part of a value.
    """
    found = (int(first + second, 16) for first, second in _TAG.findall(str(error)[:2000]))
    tags = [tag for tag in dict.fromkeys(found) if dictionary_has_tag(tag)][:_MOST]
    about = f" about {', '.join(map(named, tags))}" if tags else ""
    return f"{type(error).__name__}{about}"
