"""What a rule came to, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from hermes_common.rules.problems import NOWHERE, Span

Tags = Mapping[str, Sequence[str]]
"""The values of every field as text, by canonical name: a keyword, ``(gggg,eeee)`` in capitals, ``A.B``, or a fact.

A missing key is an absent field, an empty sequence one that is there without a value.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule is evaluated on: the tags and facts of the series or study; for a study also those of each series.

    Raise :class:`TypeError` if a value is a single text instead of a sequence of them.
    """

    tags: Tags
    series: Sequence[Tags] = ()

    def __post_init__(self) -> None:
        """Refuse a text where a sequence of texts belongs: its letters would pass for values."""
        for tags in (self.tags, *self.series):
            for name, values in tags.items():
                if isinstance(values, str):
                    raise TypeError(f"the values of {name} are one text instead of a sequence of texts")


class Verdict(Enum):
    """What a rule came to. Never a bool: asking for its truth raises :class:`TypeError`."""

    MATCH = "match"
    NO_MATCH = "no_match"
    UNKNOWN = "unknown"
    ERROR = "error"

    def __bool__(self) -> bool:
        """Refuse: "unknown" and "error" would pass for "no"."""
        raise TypeError("a verdict has four values: compare it with one of them")


class Outcome(Enum):
    """What one clause came to; like :class:`Verdict` never a bool."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
    ERROR = "error"

    def __bool__(self) -> bool:
        """Refuse, as a verdict does."""
        raise TypeError("an outcome has four values: compare it with one of them")


VERDICTS = {
    Outcome.TRUE: Verdict.MATCH,
    Outcome.FALSE: Verdict.NO_MATCH,
    Outcome.UNKNOWN: Verdict.UNKNOWN,
    Outcome.ERROR: Verdict.ERROR,
}


@dataclass(slots=True)
class ClauseResult:
    """One clause: its canonical text, where it stands in the rule, what it came to, what it saw, and why.

    ``seen`` has at most 8 values of at most 64 characters. ``reason`` says why the outcome is unknown or an error, what
    a presence clause found, and how many series a quantifier counted. ``series`` has the clauses inside a quantifier.
    Not to be changed: it is not frozen only because a frozen one takes three times as long to make.
    """

    text: str
    span: Span
    outcome: Outcome
    seen: tuple[str, ...] = ()
    reason: str = ""
    series: tuple["SeriesResult", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, the span flattened; ``series`` only for a quantifier."""
        span = self.span
        found: dict[str, Any] = {
            "text": self.text,
            "start": span.start,
            "end": span.end,
            "line": span.line,
            "column": span.column,
            "outcome": self.outcome.value,
            "seen": list(self.seen),
            "reason": self.reason,
        }
        if self.series:
            found["series"] = [part.to_dict() for part in self.series]
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; what is unknown is ignored, what may be left out has its default."""
        span = Span(*(found.get(key, getattr(NOWHERE, key)) for key in ("start", "end", "line", "column")))
        series = tuple(SeriesResult.from_dict(part) for part in found.get("series", ()))
        return cls(
            found["text"],
            span,
            Outcome(found["outcome"]),
            tuple(found.get("seen", ())),
            found.get("reason", ""),
            series,
        )


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """What the expression inside a quantifier came to for one series of the study.

    ``index`` is its place in :attr:`Context.series`, ``uid`` its SeriesInstanceUID if the context has it.
    """

    index: int
    uid: str
    outcome: Outcome
    clauses: tuple[ClauseResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "index": self.index,
            "uid": self.uid,
            "outcome": self.outcome.value,
            "clauses": [clause.to_dict() for clause in self.clauses],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        clauses = tuple(ClauseResult.from_dict(clause) for clause in found.get("clauses", ()))
        return cls(found["index"], found.get("uid", ""), Outcome(found["outcome"]), clauses)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict on a rule with the result of every clause, in the order of the text.

    ``unmet`` counts the operands of the outermost ``and`` (or the whole rule, if it is no ``and``) that are not true,
    of ``total``: a rule that failed with one unmet of several is a near miss.
    """

    verdict: Verdict
    clauses: tuple[ClauseResult, ...]
    unmet: int = 0
    total: int = 1

    @property
    def near_miss(self) -> bool:
        """Whether all operands of the outermost ``and`` but one are true."""
        return self.unmet == 1 and self.total > 1

    @property
    def reason(self) -> str:
        """The reasons for the verdict in one line, if it is unknown or an error; empty otherwise."""
        wanted = {Verdict.UNKNOWN: Outcome.UNKNOWN, Verdict.ERROR: Outcome.ERROR}.get(self.verdict)
        return "; ".join(dict.fromkeys(c.reason for c in self.clauses if c.outcome is wanted and c.reason))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "verdict": self.verdict.value,
            "clauses": [clause.to_dict() for clause in self.clauses],
            "unmet": self.unmet,
            "total": self.total,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        clauses = tuple(ClauseResult.from_dict(clause) for clause in found.get("clauses", ()))
        return cls(Verdict(found["verdict"]), clauses, found.get("unmet", 0), found.get("total", 1))
