"""The chain of the audit: each row carries its place, the hash of the row before it, and its own (ADR-0034).

A hash is HMAC-SHA256 under a key of ``HERMES_SECRET_KEY``, which PostgreSQL never has; without a key it is SHA-256,
which anybody can compute. The rows of a chain have the places 1, 2, 3… without gaps. The row before the first is its
*beginning*, which says until when rows that were found without a place may be taken over.

:class:`Walk` is shown the rows in order and says where the chain is broken. What it cannot see in the tables, rows cut
off at the end together with the head, it sees by *anchors*: heads that were said on the bus.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal

MOST_BREAKS: Final = 20
"""So many places are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class ChainKey:
    """What hashes are made with; ``key`` is empty where there is no ``HERMES_SECRET_KEY``."""

    key: bytes = field(default=b"", repr=False)
    key_id: str = ""

    def hash(self, text: str) -> str:
        """Return the hash of a text, 64 hexadecimal digits."""
        data = text.encode()
        return (hmac.new(self.key, data, hashlib.sha256) if self.key else hashlib.sha256(data)).hexdigest()


NO_KEY: Final = ChainKey()


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What a row of the audit says, as PostgreSQL has it; ``detail`` is the text of its JSONB."""

    number: int
    event_id: str
    time: datetime
    actor: str
    action: str
    about: str
    address: str
    detail: str


@dataclass(frozen=True, slots=True)
class Link:
    """The place of a row in the chain. ``adopted``: it was there before it was given one."""

    sequence: int
    previous: str
    hash: str
    key_id: str
    adopted: bool


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain, and how it began: ``genesis`` is what the first row carries as the hash before it."""

    began_at: datetime
    adopt_until: datetime
    genesis: str
    genesis_key_id: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that was said on the bus."""

    sequence: int
    hash: str
    said_at: datetime
    key_id: str | None = None
    """Of the key of the row, as it was said; None if that is not known."""


def genesis(key: ChainKey, began_at: datetime, adopt_until: datetime) -> str:
    """Return the hash of the beginning of a chain."""
    return key.hash(json.dumps(["hermes audit chain 1", _instant(began_at), _instant(adopt_until)]))


def link(key: ChainKey, row: AuditRow, sequence: int, previous: str, adopted: bool) -> Link:
    """Return the link of a row at a place, after the row with the hash ``previous``."""
    return Link(sequence, previous, _hash(key, row, sequence, previous, adopted), key.key_id, adopted)


def _hash(key: ChainKey, row: AuditRow, sequence: int, previous: str, adopted: bool) -> str:
    said = [row.event_id, _instant(row.time), row.actor, row.action, row.about, row.address, row.detail]
    return key.hash(json.dumps(["hermes audit row 1", sequence, previous, adopted, row.number, *said]))


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class Fault(StrEnum):
    """What is wrong at a place of the chain."""

    CHANGED = "changed"
    MISSING = "missing"
    CUT = "cut"
    REPLACED = "replaced"
    UNLINKED = "unlinked"
    INSERTED = "inserted"
    KEYLESS = "keyless"
    BEGINNING = "beginning"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Break:
    """One place at which the chain is broken. ``time`` is of the row there, or of the last whole one before it."""

    fault: Fault
    sequence: int | None
    number: int | None
    time: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a walk over the whole chain found."""

    rows: int
    breaks: tuple[Break, ...]
    broken_at: int
    """How many places are broken, those that are not named included."""
    keyless: int
    """Rows hashed without a key: who may write to the database can compute them again."""
    unchecked: int
    """Rows hashed under another key than ours: that they follow on one another is all that was checked."""
    adopted: int
    """Rows that were there before they were given a place: what they said before that is not known."""
    waiting: int
    """Rows without a place, which the bookkeeper has still to take over."""
    anchored: int
    """The place up to which an anchor on the bus agrees; 0 if there is none."""
    anchors: int | None
    """How many anchors were compared; None if the bus could not be asked."""

    @property
    def state(self) -> Literal["whole", "broken", "unknown"]:
        """Return how the chain is; ``unknown`` where every row is under a key that is not ours."""
        if self.broken_at:
            return "broken"
        return "unknown" if self.rows and self.unchecked == self.rows else "whole"

    @property
    def words(self) -> str:
        """The result in a sentence."""
        if self.breaks:
            more = f" ({self.broken_at} places in all)" if self.broken_at > 1 else ""
            return f"broken: {self.breaks[0].words}{more}"
        if not self.rows:
            return "no rows yet" + (f", {self.waiting} wait to be taken over" if self.waiting else "")
        notes = [f"{self.rows} {_rows(self.rows)}"]
        if self.keyless:
            notes.append(f"{self.keyless} without a key, which who writes to the database can compute again")
        if self.unchecked:
            notes.append(f"{self.unchecked} under another key, of which only the order was checked")
        if self.adopted:
            notes.append(f"{self.adopted} taken over as they were found")
        if self.waiting:
            notes.append(f"{self.waiting} still to be taken over")
        if self.anchors is None:
            notes.append("not compared with the bus, which does not answer")
        if self.state == "unknown":
            return "cannot be checked: another HERMES_SECRET_KEY made it; " + "; ".join(notes)
        return "whole: " + "; ".join(notes)


Page = Callable[[int], Sequence[Sequence[Any]]]
"""Returns rows from a place (or a number) on, in their order, and none after the last: what :class:`AuditRow` has, then
what :class:`Link` has.
"""

LEAST: Final = -(2**63)
"""The least number that a row can have: who writes to the table chooses the number of theirs, and the place."""


class Walk:
    """Goes along a chain from its beginning. The rows with a place come in their order, then those without one."""

    def __init__(self, head: Head | None, key: ChainKey, anchors: Sequence[Anchor] | None, now: datetime) -> None:
        self._head, self._key, self._now = head, key, now
        self._anchors: dict[int, list[Anchor]] = {}
        for anchor in anchors or ():
            self._anchors.setdefault(anchor.sequence, []).append(anchor)
        self._compared = None if anchors is None else len(anchors)
        self._sequence, self._hash = 0, ""
        self._time: datetime | None = None
        self._is_keyed = False
        self._breaks: list[Break] = []
        self._broken = self._rows = self._keyless = self._unchecked = self._adopted = self._waiting = 0
        self._anchored = 0
        self._begin()

    def _begin(self) -> None:
        head = self._head
        if head is None:
            return
        self._hash = head.genesis
        if head.genesis_key_id != self._key.key_id and head.genesis_key_id:
            return
        key = self._key if head.genesis_key_id else NO_KEY
        if not hmac.compare_digest(genesis(key, head.began_at, head.adopt_until), head.genesis):
            self._note(Fault.BEGINNING, None, None, "what the chain says of its beginning was changed")
        self._is_keyed = bool(head.genesis_key_id)

    def over(self, placed: Page, unplaced: Page) -> Report:
        """Look at all rows: those with a place, then those without one or with one before the first."""
        first = 1
        while rows := placed(first):
            for row in rows:
                self.take(AuditRow(*row[:8]), Link(*row[8:13]))
            first = rows[-1][8] + 1
        first = LEAST
        while rows := unplaced(first):
            for row in rows:
                self.take_unchained(AuditRow(*row[:8]), row[8])
            first = rows[-1][0] + 1
        return self.finish()

    def take(self, row: AuditRow, its: Link) -> None:
        """Look at the next row that has a place."""
        self._rows += 1
        expected = self._sequence + 1
        if its.sequence > expected:
            what = _range(expected, its.sequence - 1)
            self._note(Fault.MISSING, expected, None, f"{what} missing before the row of {_when(row.time)}")
            self._lost_anchors(expected, its.sequence - 1)
        elif self._hash and not hmac.compare_digest(its.previous, self._hash):
            words = f"row {its.sequence}, of {_when(row.time)}, does not follow the row before it"
            if its.sequence == 1:
                words = f"row 1, of {_when(row.time)}, does not follow the beginning of the chain"
            self._note(Fault.UNLINKED, its.sequence, row, words)
        self._check(row, its)
        for anchor in self._anchors.pop(its.sequence, ()):
            if hmac.compare_digest(anchor.hash, its.hash) and anchor.key_id in (None, its.key_id):
                self._anchored = its.sequence
            else:
                words = f"row {its.sequence}, of {_when(row.time)}, is not the one that was said on the bus"
                self._note(Fault.REPLACED, its.sequence, row, f"{words} on {_when(anchor.said_at)}")
        self._adopted += its.adopted
        self._sequence, self._hash, self._time = its.sequence, its.hash, row.time

    def _check(self, row: AuditRow, its: Link) -> None:
        """Compare a row with its own hash. Once one was under our key, or the beginning, every later one has to be."""
        is_ours = its.key_id == self._key.key_id
        if not is_ours and self._is_keyed:
            words = f"row {its.sequence}, of {_when(row.time)}, is not under the key of the rows before it"
            self._note(Fault.KEYLESS, its.sequence, row, words)
            return
        self._is_keyed |= is_ours and bool(its.key_id)
        if not its.key_id:
            self._keyless += 1
        elif not is_ours:
            self._unchecked += 1
            return
        key = self._key if its.key_id else NO_KEY
        if not hmac.compare_digest(_hash(key, row, its.sequence, its.previous, its.adopted), its.hash):
            self._note(Fault.CHANGED, its.sequence, row, f"row {its.sequence}, of {_when(row.time)}, was changed")

    def take_unchained(self, row: AuditRow, sequence: int | None = None) -> None:
        """Look at a row without a place: one that is still to be taken over, or that no bookkeeper wrote.

        One with a ``sequence`` has a place before the first, which no bookkeeper gives.
        """
        if sequence is None and (self._head is None or self._now < self._head.adopt_until):
            self._waiting += 1
            return
        words = f"the row number {row.number}, of {_when(row.time)}, was not written by a bookkeeper of this release"
        self._note(Fault.INSERTED, None, row, words)

    def finish(self) -> Report:
        """Return what was found, after the last row."""
        head, last = self._head, self._sequence
        end = max([last, *self._anchors])
        if head is None and last:
            self._note(Fault.HEAD, last, None, "the record of the head of the chain is missing")
        if head is not None and head.sequence > end:
            end = head.sequence
        if end > last:
            after = f" after the row of {_when(self._time)}" if self._time else ""
            said = max((each.said_at for some in self._anchors.values() for each in some), default=None)
            known = f"; row {max(self._anchors)} was said on the bus on {_when(said)}" if self._anchors else ""
            words = f"{_range(last + 1, end)} missing at the end{after}{known}"
            self._note(Fault.CUT, last + 1, None, words)
        elif head is not None and head.sequence < last:
            words = f"the chain goes on to row {last}, and its head says {head.sequence}"
            self._note(Fault.HEAD, head.sequence + 1, None, words)
        elif head is not None and last and not hmac.compare_digest(head.hash, self._hash):
            self._note(Fault.HEAD, last, None, f"row {last} is not the one of which the head of the chain speaks")
        return Report(
            rows=self._rows,
            breaks=tuple(self._breaks),
            broken_at=self._broken,
            keyless=self._keyless,
            unchecked=self._unchecked,
            adopted=self._adopted,
            waiting=self._waiting,
            anchored=self._anchored,
            anchors=self._compared,
        )

    def _lost_anchors(self, first: int, last: int) -> None:
        """Forget the anchors of rows that are missing: that was said."""
        for sequence in [each for each in self._anchors if first <= each <= last]:
            del self._anchors[sequence]

    def _note(self, fault: Fault, sequence: int | None, row: AuditRow | None, words: str) -> None:
        self._broken += 1
        if len(self._breaks) < MOST_BREAKS:
            number, time = (row.number, row.time) if row is not None else (None, self._time)
            self._breaks.append(Break(fault, sequence, number, time, words))


def _when(time: datetime | None) -> str:
    return "?" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _range(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"


def _rows(number: int) -> str:
    return "row" if number == 1 else "rows"
