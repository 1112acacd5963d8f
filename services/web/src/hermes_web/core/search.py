"""The search over series: ``modality:MR status:failed patient:"DOE^JOHN" brain``."""

import re
from dataclasses import dataclass

from hermes_web.errors import FieldProblem, InvalidError

QUALIFIERS = ("modality", "source", "status", "patient", "accession", "study")
STATES = (
    "receiving",
    "completed",
    "routed",
    "delivered",
    "partly_failed",
    "failed",
    "unmatched",
    "discarded",
    "deleted",
)
MAX_LENGTH = 500
_PART = re.compile(r'(?:([A-Za-z]+):)?(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class Search:
    """What a search asks for: all of it must hold; several values of one qualifier are alternatives."""

    qualifiers: dict[str, tuple[str, ...]]
    words: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it asks for everything."""
        return not self.qualifiers and not self.words


def parse_search(text: str) -> Search:
    """Return what a text asks for; raise :class:`InvalidError` that names the qualifier or the state that is wrong."""
    if len(text) > MAX_LENGTH:
        raise InvalidError(problems=[FieldProblem("q", f"at most {MAX_LENGTH} characters")])
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for name, quoted, plain in _PART.findall(text.replace("\0", "")):
        value = quoted or plain
        key = name.lower()
        if not name:
            words.append(value)
        elif key in QUALIFIERS:
            found.setdefault(key, []).extend(part for part in _alternatives(key, value) if part)
        else:
            known = ", ".join(f"{item}:" for item in QUALIFIERS)
            raise InvalidError(
                f"there is no qualifier {name}:",
                problems=[FieldProblem("q", f"there is no qualifier {name}:; use {known} or put it in quotes")],
            )
    _check_states(found.get("status", []))
    return Search({key: tuple(values) for key, values in found.items()}, tuple(words))


def _alternatives(key: str, value: str) -> list[str]:
    return value.split(",") if key in {"modality", "source", "status"} else [value]


def _check_states(states: list[str]) -> None:
    for state in states:
        if state not in STATES:
            message = f"{state!r} is not a state of a series; use {', '.join(STATES)}"
            raise InvalidError(message, problems=[FieldProblem("q", message)])


def like(text: str) -> str:
    """Return the LIKE pattern for text that contains ``text``, whatever characters are in it (escape: backslash)."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
