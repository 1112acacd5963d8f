"""The checksum of a data set that goes into its spool file as it comes in, and is compared whenever it is read back.

XXH3 with 128 bits finds every damage that disks and memory do; it is no protection against forgery, and need not be:
the file is ours. It costs a fiftieth of SHA-256, which belongs to the object and is made when it is uploaded, after the
sender has its answer (ADR-0033).
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import xxhash

_SHA256_DIGITS = 64


class Checksum(Protocol):
    """A checksum in the making."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """Return the checksum of what was taken so far, hexadecimal."""


def checksum() -> Checksum:
    """Return a new one."""
    return xxhash.xxh3_128()


def checksum_like(check: str) -> Checksum:
    """Return a new one of the kind that ``check`` is: earlier receivers kept the SHA-256."""
    return hashlib.sha256() if len(check) == _SHA256_DIGITS else checksum()
