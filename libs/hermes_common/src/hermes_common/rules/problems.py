"""What can be wrong with the text of a rule, and where.

RuleError            a rule that cannot be used; ``problems`` says everything that was found
├── RuleSyntaxError  the text is not a rule, or is over a limit; always one problem
└── RuleTypeError    the text is a rule, but not one that makes sense: an unknown field, a comparison of unlike things
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a rule's text: offsets in characters, ``end`` exclusive; line and column of the start, from 1."""

    start: int = 0
    end: int = 0
    line: int = 1
    column: int = 1

    def to(self, other: "Span") -> "Span":
        """Return the span from the start of this one to the end of ``other``."""
        return Span(self.start, other.end, self.line, self.column)


NOWHERE = Span()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or doubtful.

    ``code`` is a stable name for programs; ``expected`` lists what could stand at this place; ``suggestion`` is a text
    that could replace the span, or stand in its stead, where one is known.
    """

    code: str
    message: str
    span: Span
    expected: tuple[str, ...] = ()
    suggestion: str | None = None

    def __str__(self) -> str:
        """Return one line for people: place, message, expectation, suggestion."""
        parts = [f"line {self.span.line}, column {self.span.column}: {self.message}"]
        if self.expected:
            parts.append(f"expected {', '.join(self.expected)}")
        if self.suggestion is not None:
            parts.append(f"did you mean {self.suggestion}?")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """Return the problem as JSON-ready values, the span flattened."""
        return {
            "code": self.code,
            "message": self.message,
            "start": self.span.start,
            "end": self.span.end,
            "line": self.span.line,
            "column": self.span.column,
            "expected": list(self.expected),
            "suggestion": self.suggestion,
        }


class RuleError(ValueError):
    """A rule that cannot be used. ``problems`` is never empty and is in the order of the text."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class RuleSyntaxError(RuleError):
    """The text does not follow the grammar, or is over a limit."""


class RuleTypeError(RuleError):
    """The text follows the grammar, but a field, an operator or a value does not fit."""
