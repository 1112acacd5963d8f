"""A rule's expression with what each of its clauses came to: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from hermes_common.events import Clause


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an expression; of a clause, what it came to and what it saw."""

    text: str
    outcome: str = ""
    clause: Clause | None = None


def parts_of(expression: str, clauses: Sequence[Clause]) -> list[Part]:
    """Return the expression in pieces; a clause whose span does not fit it, or lies in another one, is left out."""
    found: list[Part] = []
    at = 0
    for clause in sorted(clauses, key=lambda item: (item.start, -item.end)):
        if clause.start < at or not clause.start < clause.end <= len(expression):
            continue
        if clause.start > at:
            found.append(Part(expression[at : clause.start]))
        found.append(Part(expression[clause.start : clause.end], clause.outcome, clause))
        at = clause.end
    if at < len(expression):
        found.append(Part(expression[at:]))
    return found
