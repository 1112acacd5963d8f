"""A clause to a closure that answers it for one set of tags."""

import operator
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, assert_never

from hermes_common.rules import tree
from hermes_common.rules.dictionary import FieldInfo, Kind, look_up
from hermes_common.rules.explanation import Tags
from hermes_common.rules.kleene import Test, Truth, opposite
from hermes_common.rules.literals import value_of
from hermes_common.rules.patterns import searcher
from hermes_common.rules.questions import (
    Predicate,
    any_containing,
    any_equal,
    any_match,
    any_number,
    any_text,
    any_value,
    presence,
)
from hermes_common.rules.values import (
    CONVERTERS,
    PADDING,
    Convert,
    UnreadableError,
    person_forms,
    to_instant,
    to_number,
    to_text,
)

_MIRRORED: dict[tree.Relation, Callable[[Any, Any], bool]] = {
    tree.Relation.LESS: operator.gt,
    tree.Relation.LESS_EQUAL: operator.ge,
    tree.Relation.GREATER: operator.lt,
    tree.Relation.GREATER_EQUAL: operator.le,
}
"""Each comparison with its sides exchanged: the bound, known beforehand, stands first."""


def clause_test(node: tree.Clause) -> tuple[Test, Convert]:
    """Return the closure of a clause that was checked, and how it reads the values of its field."""
    info = look_up(node.field.name)
    if not isinstance(info, FieldInfo):
        raise ValueError(f"{node.field.name} was not checked: {info.message}")
    convert = _convert(info.kind, node)
    return _test(node, info, convert), convert


def _convert(kind: Kind, node: tree.Clause) -> Convert:
    """Return the converter; a private tag is read as a number where it is compared with one."""
    match node:
        case tree.Compare():
            literal = node.value
        case tree.Between():
            literal = node.low
        case tree.Member():
            literal = node.values[0]
        case tree.Within():
            return to_instant if kind is Kind.DATETIME else CONVERTERS[kind]
        case _:
            return CONVERTERS[kind]
    return to_number if kind is Kind.UNTYPED and isinstance(literal, tree.Number) else CONVERTERS[kind]


def _test(node: tree.Clause, info: FieldInfo, convert: Convert) -> Test:
    kind, name = info.kind, info.name
    match node:
        case tree.Presence():
            inside = f"{name}." if kind in {Kind.SEQUENCE, Kind.UNTYPED} else None
            return presence(name, node.present, inside)
        case tree.Within():
            return _within(node, name, convert)
        case tree.Matches():
            return _matches(node, kind, name)
        case tree.Between():
            low, high = value_of(kind, node.low), value_of(kind, node.high)
            return _satisfies(name, convert, lambda value: low <= value <= high)
        case tree.Member():
            test = _equal(kind, name, convert, node.values)
            return opposite(test) if node.negated else test
        case tree.Compare():
            return _compare(node, kind, name, convert)
        case _:
            assert_never(node)


def _compare(node: tree.Compare, kind: Kind, name: str, convert: Convert) -> Test:
    match node.relation:
        case tree.Relation.EQUAL | tree.Relation.HAS:
            return _equal(kind, name, convert, (node.value,))
        case tree.Relation.NOT_EQUAL:
            return opposite(_equal(kind, name, convert, (node.value,)))
        case tree.Relation.SAME | tree.Relation.CONTAINS | tree.Relation.STARTS_WITH | tree.Relation.ENDS_WITH:
            return _ignoring_case(node.relation, str(node.value.value), kind, name)
        case _:
            return _satisfies(name, convert, partial(_MIRRORED[node.relation], value_of(kind, node.value)))


def _satisfies(name: str, convert: Convert, predicate: Predicate) -> Test:
    return any_number(name, predicate) if convert is to_number else any_value(name, convert, predicate)


def _ignoring_case(relation: tree.Relation, wanted: str, kind: Kind, name: str) -> Test:
    part = wanted.casefold()
    if relation is tree.Relation.CONTAINS and kind is not Kind.PERSON and part and part == part.strip(PADDING):
        return any_containing(name, part)
    return any_text(name, _for_person(kind, _part_of(relation, part)))


def _part_of(relation: tree.Relation, part: str) -> Predicate:
    if relation is tree.Relation.SAME:
        same = part.strip(PADDING)
        return lambda value: value.casefold() == same
    if relation is tree.Relation.CONTAINS:
        return lambda value: part in value.casefold()
    if relation is tree.Relation.STARTS_WITH:
        return lambda value: value.casefold().startswith(part)
    return lambda value: value.casefold().endswith(part)


def _matches(node: tree.Matches, kind: Kind, name: str) -> Test:
    search = searcher(node.pattern, node.ignore_case)
    if kind is not Kind.PERSON:
        return any_match(name, search)

    def matches(value: str) -> bool:
        try:
            return bool(search(value.encode()))
        except UnicodeEncodeError as exc:
            raise UnreadableError(ascii(value), "well-formed text") from exc

    return any_value(name, to_text, _for_person(kind, matches))


def _for_person(kind: Kind, predicate: Predicate) -> Predicate:
    """Let a predicate on text be true for any representation of a person's name."""
    if kind is not Kind.PERSON:
        return predicate
    return lambda value: any(predicate(form) for form in person_forms(value))


def _equal(kind: Kind, name: str, convert: Convert, literals: tuple[tree.Literal_, ...]) -> Test:
    """Return the test of equality with one of several values."""
    wanted = frozenset(value_of(kind, literal) for literal in literals)
    if kind is Kind.PERSON:
        forms = frozenset(form for value in wanted if value is not None for form in person_forms(value))
        return any_text(name, lambda value: not forms.isdisjoint(person_forms(value)))
    if convert is to_text:
        return any_equal(name, wanted)
    return _satisfies(name, convert, wanted.__contains__)


def _within(node: tree.Within, name: str, convert: Convert) -> Test:
    """Return the test whether any value lies in the time up to now; the future does not.

    A date counts whole days: the last 1 day is yesterday and today, by the calendar of the zone of ``now``.
    """
    span = timedelta(**{node.unit.value: node.amount})

    def test(tags: Tags, series: Sequence[Tags], now: datetime) -> Truth:
        if now.tzinfo is None:
            raise TypeError("now has no time zone")
        today = now.date()
        instant = now.astimezone(UTC)

        def recent(value: date) -> bool:
            limit: Any = instant if isinstance(value, datetime) else today
            return bool(limit - span <= value <= limit)

        return any_value(name, convert, recent)(tags, series, now)

    return test
