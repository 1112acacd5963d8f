"""The syntax tree of a rule: plain values, compared by content and not by where they stand in a text."""

from dataclasses import dataclass
from dataclasses import field as attribute
from enum import StrEnum
from typing import Literal, assert_never

from hermes_common.rules.problems import NOWHERE, Span


class Relation(StrEnum):
    """The comparisons of a field with one value."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    SAME = "~="
    CONTAINS = "contains"
    STARTS_WITH = "starts with"
    ENDS_WITH = "ends with"
    HAS = "has"


class Unit(StrEnum):
    """The units of ``within last``."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"


COUNTABLE = frozenset(
    {
        Relation.EQUAL,
        Relation.NOT_EQUAL,
        Relation.LESS,
        Relation.LESS_EQUAL,
        Relation.GREATER,
        Relation.GREATER_EQUAL,
    }
)
"""The comparisons that may follow ``count series (…)``."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field by its canonical name: a keyword, ``(gggg,eeee)`` in capitals, ``A.B``, or a fact."""

    name: str
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted value."""

    value: str
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, finite."""

    value: int | float
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


Literal_ = Text | Number


@dataclass(frozen=True, slots=True)
class Compare:
    """``field relation value``."""

    field: Field
    relation: Relation
    value: Literal_
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """``field in [values]`` or its negation."""

    field: Field
    values: tuple[Literal_, ...]
    negated: bool = False
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """``field matches /pattern/i``; the pattern is RE2's syntax and need not match the whole value."""

    field: Field
    pattern: str
    ignore_case: bool = False
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Between:
    """``field between low and high``, both included."""

    field: Field
    low: Literal_
    high: Literal_
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Within:
    """``field within last amount unit``."""

    field: Field
    amount: int
    unit: Unit
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Presence:
    """``field is present`` (it has a value that is not blank) or ``is missing``."""

    field: Field
    present: bool
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SomeSeries:
    """``any series (body)`` or ``all series (body)``."""

    quantifier: Literal["any", "all"]
    body: "Expression"
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CountSeries:
    """``count series (body) relation amount``."""

    body: "Expression"
    relation: Relation
    amount: int
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class And:
    """Two or more expressions that must all be true."""

    items: tuple["Expression", ...]
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more expressions of which one must be true."""

    items: tuple["Expression", ...]
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of an expression; of an unknown one, unknown."""

    item: "Expression"
    span: Span = attribute(default=NOWHERE, compare=False, repr=False)


Clause = Compare | Member | Matches | Between | Within | Presence
"""What asks one question of one field."""

Expression = Clause | SomeSeries | CountSeries | And | Or | Not


@dataclass(frozen=True, slots=True)
class Rule:
    """A whole rule. ``source`` is the text its spans refer to, empty for a tree that was built and not parsed.

    Comments are kept, in their order, without ``#``; their place between the clauses is not.
    """

    expression: Expression
    comments: tuple[str, ...] = ()
    source: str = attribute(default="", compare=False, repr=False)


def operator(node: Clause) -> str:
    """Return the operator of a clause as it is written, such as ``not in``."""
    match node:
        case Compare():
            return node.relation.value
        case Member():
            return "not in" if node.negated else "in"
        case Matches():
            return "matches"
        case Between():
            return "between"
        case Within():
            return "within last"
        case Presence():
            return "is present" if node.present else "is missing"
        case _:
            assert_never(node)


def children(node: Expression) -> tuple[Expression, ...]:
    """Return the expressions directly inside ``node``."""
    match node:
        case And() | Or():
            return node.items
        case Not():
            return (node.item,)
        case SomeSeries() | CountSeries():
            return (node.body,)
        case _:
            return ()
