"""The limits that keep a receiver alive among peers that are slow, greedy or hostile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Ack(StrEnum):
    """What an instance has to be before its sender is told Success."""

    SPOOLED = "spooled"
    """Fsynced on our own disk."""
    STORED = "stored"
    """In the object store, and its event acknowledged by the bus: for a receiver whose disk is not to be relied on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, counts, and times of every step of an association."""

    associations: int = 128
    associations_per_address: int = 64
    waiting_connections: int = 64
    """Connections that have not asked for an association yet; when one more comes, the oldest of the busiest address
    goes.
    """
    request: timedelta = timedelta(seconds=20)
    """From the connection to the complete association request, TLS handshake included."""
    idle: timedelta = timedelta(seconds=60)
    """Silence between two PDUs."""
    transfer: timedelta = timedelta(seconds=30)
    """From the first to the last byte of a PDU, either way."""
    farewell: timedelta = timedelta(seconds=2)
    """How long a peer may take to close the connection after release, rejection or abort."""
    storing: timedelta = timedelta(seconds=25)
    """How long the object store and the bus may take when Success waits for them (:attr:`Ack.STORED`)."""
    drain: timedelta = timedelta(seconds=20)
    """How long an instance under way may take to finish when this service stops."""
    pdu_length: int = 131_072
    instance_bytes: int = 16 * 1024**3
    spool_bytes: int = 100 * 1024**3
    free_bytes: int = 512 * 1024**2
    """What is left free on the volume of the spool."""
    head_bytes: int = 64 * 1024
    """How much of each data set is held in memory for its header."""
