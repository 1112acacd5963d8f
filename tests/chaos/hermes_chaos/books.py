"""What everybody wrote down, each on his own: the sender, the targets, the router. Values only."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

End = Literal["delivered", "failed"]

SUCCESS = 0x0000
WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
"""Warnings of any DIMSE service (PS3.7 C.4); those of the Storage Service are B000H to BFFFH (PS3.4 B.2.3)."""


def confirms(status: int | None) -> bool:
    """Return whether a C-STORE response says that the instance is stored: Success or a warning."""
    return status is not None and (status == SUCCESS or status in WARNINGS or status >> 12 == 0xB)


@dataclass(frozen=True, slots=True)
class Sent:
    """An instance as the sender has it. ``ends``: how it has to end, by target."""

    sop_instance_uid: str
    series_uid: str
    digest: str
    route: str
    ends: Mapping[str, End]
    acknowledged_at: float | None = None
    """Seconds of the epoch at which the sender was told Success; None if it never was."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A C-STORE as a target saw it: ``status`` is what it answered, None if it did not."""

    target: str
    sop_instance_uid: str
    digest: str
    status: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Reception:
    """A row of ``ledger.instances``, and the digest of the object under its key (None: it is not there)."""

    reception_id: str
    series_uid: str
    sop_instance_uid: str
    digest: str
    key: str
    stored_digest: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the router says of an instance at a target."""

    delivery_id: str
    sop_instance_uid: str
    result: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the router says of a delivery: its tables, its live record (None: forgotten), its API."""

    delivery_id: str
    series_uid: str
    target: str
    state: str
    instances: int
    delivered: int
    attempt: int
    reason: str
    live_state: str | None
    live_delivered: int
    api_state: str
    api_outcomes: frozenset[Outcome]
    commitment: str = ""
    """What the tables say of storage commitment; empty where it is not asked for."""
    live_commitment: str | None = None
    """What the live record says of it (None: it says nothing, or is forgotten)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the router or a target, from when to when (seconds of the epoch).

    ``repeats``: instances under way may be sent again because of it.
    """

    name: str
    since: float
    until: float
    repeats: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the checker joins."""

    sent: Sequence[Sent]
    kept: Sequence[Kept]
    receptions: Sequence[Reception]
    series: Mapping[str, str]
    """State by series UID."""
    deliveries: Sequence[Delivery]
    outcomes: Sequence[Outcome]
    faults: Sequence[Fault]
    parked: Sequence[str] = ()
    """What could not be worked on: consumer and reason."""
    committing: frozenset[str] = frozenset()
    """Targets that are asked for storage commitment."""
    promised: frozenset[tuple[str, str]] = frozenset()
    """Target and SOP instance: what a target says that it keeps."""
    steps: frozenset[tuple[str, str]] = frozenset()
    """Procedure step, ``created`` or ``set``: what a modality was answered with Success."""
    steps_told: frozenset[tuple[str, str]] = frozenset()
    """The same, of the events in the tables."""


@dataclass(slots=True)
class Ledger:
    """The harness's own books, written by several threads."""

    sent: dict[str, Sent] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    answers: dict[int | None, int] = field(default_factory=dict)
    """How often the sender was answered with which status; None: there was no answer."""
    promised: set[tuple[str, str]] = field(default_factory=set)
    """Target and SOP instance: what a target was going to say, or has said, that it keeps."""
    steps: set[tuple[str, str]] = field(default_factory=set)
    """Procedure steps that were answered with Success: UID, and ``created`` or ``set``."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, instance: Sent) -> None:
        """Take down an instance that is going to be sent."""
        with self._lock:
            self.sent[instance.sop_instance_uid] = instance

    def answered(self, sop_instance_uid: str, status: int | None) -> None:
        """Take down what the sender was told about an instance."""
        with self._lock:
            self.answers[status] = self.answers.get(status, 0) + 1
            known = self.sent[sop_instance_uid]
            if status == SUCCESS and known.acknowledged_at is None:
                self.sent[sop_instance_uid] = Sent(
                    known.sop_instance_uid, known.series_uid, known.digest, known.route, known.ends, time.time()
                )

    def keep(self, kept: Kept) -> None:
        """Take down what a target saw, before it answers."""
        with self._lock:
            self.kept.append(kept)

    def promise(self, target: str, instances: Iterable[str]) -> None:
        """Take down what a target commits to, before it says so."""
        with self._lock:
            self.promised |= {(target, uid) for uid in instances}

    def promises(self) -> frozenset[tuple[str, str]]:
        """Return what was committed to up to now."""
        with self._lock:
            return frozenset(self.promised)

    def acknowledge_step(self, sop_instance_uid: str, verb: str) -> None:
        """Take down that a procedure step was answered with Success."""
        with self._lock:
            self.steps.add((sop_instance_uid, verb))

    def snapshot(self) -> tuple[list[Sent], list[Kept]]:
        """Return what there is now."""
        with self._lock:
            return list(self.sent.values()), list(self.kept)
