"""Which object keys there are.

Keys are generated, never taken from DICOM: segments of ``[A-Za-z0-9._-]`` joined by ``/``, at most 512 characters, at
most 255 in a segment (file systems), no empty, ``.`` or ``..`` segment. A key is never also the folder of another key.
Any other character is free for the adapters' own names: a name with ``~`` can never be an object.
"""

from __future__ import annotations

import re

from hermes_common.runtime.objectstore.errors import KeyInvalid

MAX_KEY = 512
MAX_SEGMENT = 255
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def is_segment(name: str) -> bool:
    """Whether ``name`` can be one segment of a key."""
    return name not in {".", ".."} and len(name) <= MAX_SEGMENT and _SEGMENT.fullmatch(name) is not None


def segments(key: str) -> tuple[str, ...]:
    """The segments of a valid key; raises ``KeyInvalid`` for any other string."""
    if len(key) > MAX_KEY:
        raise KeyInvalid(key, f"longer than {MAX_KEY} characters")
    parts = tuple(key.split("/"))
    for part in parts:
        if not is_segment(part):
            raise KeyInvalid(key, f"segment {part[:80]!r}")
    return parts


def check_key(key: str) -> str:
    """``key`` itself when it is valid; raises ``KeyInvalid``."""
    segments(key)
    return key


def prefix_folder(prefix: str) -> tuple[str, ...]:
    """The whole segments before the last ``/`` of a valid prefix; raises ``KeyInvalid``.

    A prefix is compared with keys as a string, as S3 does: ``1.2/3`` finds ``1.2/3`` and ``1.2/34``. Empty finds all.
    """
    folder, slash, rest = prefix.rpartition("/")
    if slash and not folder:
        raise KeyInvalid(prefix, "leading slash")
    if rest:
        segments(rest)
    return segments(folder) if folder else ()
