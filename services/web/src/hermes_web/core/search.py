"""The search over series: ``modality:MR status:failed patient:"DOE^JOHN" brain`` (docs/search.md)."""

import re
from dataclasses import dataclass
from datetime import timedelta

from hermes_common.durations import parse_duration
from hermes_common.ledger import SEPARATORS
from hermes_web.errors import FieldProblem, InvalidError

QUALIFIERS = ("modality", "source", "status", "patient", "accession", "study", "target", "rule", "received")
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
_LONGEST = timedelta(days=3650)
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")
_SPACES = str.maketrans(SEPARATORS, " " * len(SEPARATORS))
_PART = re.compile(r'(?:([A-Za-z]+):)?(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class Search:
    """What a search asks for: all of it must hold; several values of one qualifier are alternatives."""

    qualifiers: dict[str, tuple[str, ...]]
    words: tuple[str, ...] = ()
    received: timedelta | None = None
    """Only what was last received within this span."""

    @property
    def is_empty(self) -> bool:
        """Whether it asks for everything."""
        return not self.qualifiers and not self.words and self.received is None


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
    spans = [_span(value) for value in found.pop("received", [])]
    return Search({key: tuple(values) for key, values in found.items()}, tuple(words), min(spans, default=None))


@dataclass(frozen=True, slots=True)
class Chip:
    """One part of a search, and the search without it."""

    name: str
    value: str
    without: str


def chips(text: str) -> list[Chip]:
    """Return the parts of a search that :func:`parse_search` takes, in their order."""
    found = []
    for part in _PART.finditer(text.replace("\0", "")):
        name, quoted, plain = part.groups()
        rest = f"{text[: part.start()].strip()} {text[part.end() :].strip()}".strip()
        found.append(Chip((name or "").lower(), quoted or plain or "", rest))
    return found


def _span(value: str) -> timedelta:
    try:
        span = parse_duration(value)
    except ValueError as error:
        raise InvalidError(str(error), problems=[FieldProblem("q", f"received: {error}")]) from error
    if span > _LONGEST:
        raise InvalidError(problems=[FieldProblem("q", "received: at most 3650d")])
    return span


def _alternatives(key: str, value: str) -> list[str]:
    return value.split(",") if key in {"modality", "source", "status", "target", "rule"} else [value]


def _check_states(states: list[str]) -> None:
    for state in states:
        if state not in STATES:
            message = f"{state!r} is not a state of a series; use {', '.join(STATES)}"
            raise InvalidError(message, problems=[FieldProblem("q", message)])


def beginnings(text: str) -> str:
    """Return the ``tsquery`` that finds what has, for every word of ``text``, a word that begins with it.

    Words are parted as those of a series are (:data:`hermes_common.ledger.SEPARATORS`). Empty without a word in it.
    """
    return " & ".join(f"'{word}':*" for word in text.translate(_SPACES).split())


def is_uid(word: str) -> bool:
    """Return whether a word has the form of a UID: at least four numbers with dots between them."""
    return _UID.fullmatch(word) is not None
