"""Whether the spool may take another instance."""

from __future__ import annotations

from dataclasses import dataclass

from hermes_receiver.core.limits import Limits


@dataclass(frozen=True, slots=True)
class SpoolUse:
    """Bytes that wait or are being written, and bytes that the volume has left."""

    pending: int
    free: int


def shortage(use: SpoolUse, limits: Limits, more: int = 0) -> str | None:
    """Say why ``more`` bytes must not be added, in at most 64 characters for Error Comment (0000,0902), or None."""
    if use.pending + more >= limits.spool_bytes:
        return "spool full: images wait for the object store"
    if use.free - more <= limits.free_bytes:
        return "disk full: too little space left for the spool"
    return None
