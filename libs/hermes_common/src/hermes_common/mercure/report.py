"""What became of each part of the old configuration, and where it stood."""

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum

MAX_NOTES = 5000
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Outcome(StrEnum):
    """What became of a part."""

    TRANSLATED = "translated"
    DIFFERS = "differs"
    """Translated, but it does not mean quite the same."""
    BY_HAND = "by_hand"
    """There is something to do for a person; the note says what."""
    LOST = "lost"
    """It has no counterpart, or makes no sense; the note says why."""


@dataclass(frozen=True, slots=True)
class Note:
    """``place`` is a path into the old file, such as ``rules["Brain MR"].rule``; line and column are those inside a
    condition, 0 elsewhere.
    """

    outcome: Outcome
    place: str
    message: str
    line: int = 0
    column: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "outcome": self.outcome.value,
            "place": self.place,
            "message": self.message,
            "line": self.line,
            "column": self.column,
        }


@dataclass(slots=True)
class Report:
    """Collects notes in the order of the old file; ``place`` is prefixed to all that is noted."""

    place: str = ""
    notes: list[Note] = field(default_factory=list)

    def inside(self, key: str) -> "Report":
        """Return a report on a part of this part: its notes are noted here."""
        return Report(joined(self.place, key), self.notes)

    def note(self, outcome: Outcome, key: str, message: str, line: int = 0, column: int = 0) -> None:
        """Note what became of ``key`` (empty: of the part as a whole)."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(Note(outcome, joined(self.place, key), cleaned(message), line, column))


def joined(place: str, key: str) -> str:
    """Return the path of ``key`` in ``place``."""
    if not key:
        return place
    if not _PLAIN.fullmatch(key):
        return f"{place}[{json.dumps(shown(key), ensure_ascii=False)}]"
    return f"{place}.{key}" if place else key


def cleaned(text: str) -> str:
    """Return a text that can be written: without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


def shown(value: object) -> str:
    """Return a value of the old file as it may stand in a message: short, and on one line."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = " ".join(cleaned(text).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
