"""Sends instances one after the other, over as many associations as their presentation contexts need.

Memory does not grow with what is sent: a window of instances is looked at ahead, and data sets are streamed from the
file. An association that breaks is made again once for the instance at hand; a peer that cannot be reached, or on which
several instances in a row break the association, ends the sending.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from hermes_cli.sending.files import Instance, Skipped
from hermes_common.dicom.associate import MAX_CONTEXTS
from hermes_common.runtime.dicom.errors import AssociationError, DicomNetworkError
from hermes_common.runtime.dicom.requestor import Context, FileSource, StorageAssociation, StoreResult, Timeouts

WINDOW = 1000
GIVE_UP_AFTER = 3
REMEMBERED = 1000
"""Failures and skipped files that are kept with their reasons; beyond that they are only counted."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to send, and under which names."""

    host: str
    port: int
    called_aet: str
    calling_aet: str

    def __str__(self) -> str:
        return f"{self.called_aet}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that the peer did not take, or a file that could not be read to its end."""

    path: Path
    reason: str
    status: int | None = None


@dataclass(slots=True)
class Summary:
    """What became of everything."""

    stored: int = 0
    octets: int = 0
    failed: int = 0
    skipped: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    skips: list[Skipped] = field(default_factory=list)
    stopped: str = ""
    """Why the sending ended before everything was tried, or empty."""

    def add(self, outcome: "Outcome") -> None:
        """Count one outcome."""
        match outcome:
            case Skipped():
                self.skipped += 1
                if len(self.skips) < REMEMBERED:
                    self.skips.append(outcome)
            case Failure(_, reason, status):
                self.failed += 1
                self.statuses["not answered" if status is None else f"{status:04X} {reason}"] += 1
                if len(self.failures) < REMEMBERED:
                    self.failures.append(outcome)
            case Stored(instance, status, words):
                self.stored += 1
                self.octets += instance.octets
                self.statuses[f"{status:04X} {words}"] += 1


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance of which the peer says that it has it."""

    instance: Instance
    status: int
    words: str


Outcome = Stored | Failure | Skipped


class StoppedError(Exception):
    """Going on makes no sense; the message says why."""


class Sender:
    """Sends to one peer. A context manager: leaving it releases the association."""

    def __init__(self, peer: Peer, timeouts: Timeouts | None = None) -> None:
        self._peer = peer
        self._timeouts = timeouts if timeouts is not None else Timeouts()
        self._association: StorageAssociation | None = None
        self._proposed: dict[Context, None] = {}
        self._broken_in_a_row = 0

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if self._association is not None:
            (self._association.release if kind is None else self._association.abort)()

    def send(self, found: Iterable[Instance | Skipped]) -> Iterator[Outcome]:
        """Yield what becomes of each; raise :class:`StoppedError` when the peer cannot be worked with."""
        items = iter(found)
        while window := list(islice(items, WINDOW)):
            needed = dict.fromkeys(_context(item) for item in window if isinstance(item, Instance))
            for item in window:
                yield item if isinstance(item, Skipped) else self._send(item, needed)

    def _send(self, instance: Instance, needed: dict[Context, None]) -> Outcome:
        for last in (False, True):
            association = self._ready_for(_context(instance), needed)
            try:
                result = _store(association, instance)
            except AssociationError as problem:
                if last:
                    return self._broken(Failure(instance.path, str(problem)))
            except DicomNetworkError as problem:
                return Failure(instance.path, str(problem))
            except OSError as problem:
                return Failure(instance.path, f"the file cannot be read: {problem.strerror or problem}")
            else:
                self._broken_in_a_row = 0
                return _judged(instance, result)
        raise AssertionError("the last round returns")

    def _broken(self, failure: Failure) -> Failure:
        self._broken_in_a_row += 1
        if self._broken_in_a_row >= GIVE_UP_AFTER:
            raise StoppedError(
                f"the association broke at {GIVE_UP_AFTER} instances in a row, at last: {failure.reason}"
            )
        return failure

    def _ready_for(self, context: Context, needed: dict[Context, None]) -> StorageAssociation:
        """Return an association on which ``context`` was proposed, made again when the present one is of no use."""
        present = self._association
        if present is not None and present.is_usable:
            if context in self._proposed:
                return present
            present.release()
        self._proposed = dict(islice({context: None, **self._proposed, **needed}.items(), MAX_CONTEXTS))
        peer = self._peer
        try:
            self._association = StorageAssociation.negotiate(
                peer.calling_aet, peer.called_aet, peer.host, peer.port, list(self._proposed), timeouts=self._timeouts
            )
        except AssociationError as problem:
            raise StoppedError(str(problem)) from problem
        return self._association


def _context(instance: Instance) -> Context:
    return (instance.sop_class, instance.transfer_syntax)


def _store(association: StorageAssociation, instance: Instance) -> StoreResult:
    source = FileSource(instance.path, instance.offset)
    return association.c_store(instance.sop_class, instance.sop_instance, instance.transfer_syntax, source)


def _judged(instance: Instance, result: StoreResult) -> Outcome:
    if result.meaning.is_stored:
        return Stored(instance, result.status, result.meaning.words)
    words = f"{result.meaning.words}: {result.comment}" if result.comment else result.meaning.words
    return Failure(instance.path, words, result.status)
