"""A clause to a closure that answers it for one set of tags."""

import operator
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, assert_never

from hermes_common.rules import tree
from hermes_common.rules.dictionary import FieldInfo, Kind, look_up
from hermes_common.rules.explanation import Tags
from hermes_common.rules.kleene import Test, Truth, opposite
from hermes_common.rules.literals import value_of
from hermes_common.rules.patterns import compile_pattern
from hermes_common.rules.values import (
    CONVERTERS,
    PADDING,
    Convert,
    UnreadableError,
    person_forms,
    to_instant,
    to_number,
)

Predicate = Callable[[Any], bool]

_ORDER: dict[tree.Relation, Callable[[Any, Any], bool]] = {
    tree.Relation.LESS: operator.lt,
    tree.Relation.LESS_EQUAL: operator.le,
    tree.Relation.GREATER: operator.gt,
    tree.Relation.GREATER_EQUAL: operator.ge,
}


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
    name = info.name
    match node:
        case tree.Presence():
            return _presence(node, info)
        case tree.Within():
            return _within(node, name, convert)
        case tree.Matches():
            return _any_value(name, convert, _for_person(info.kind, _matcher(node)))
        case tree.Between():
            low, high = value_of(info.kind, node.low), value_of(info.kind, node.high)
            return _any_value(name, convert, lambda value: low <= value <= high)
        case tree.Member():
            test = _equal(info.kind, name, convert, node.values)
            return opposite(test) if node.negated else test
        case tree.Compare():
            return _compare(node, info.kind, name, convert)
        case _:
            assert_never(node)


def _compare(node: tree.Compare, kind: Kind, name: str, convert: Convert) -> Test:
    match node.relation:
        case tree.Relation.EQUAL | tree.Relation.HAS:
            return _equal(kind, name, convert, (node.value,))
        case tree.Relation.NOT_EQUAL:
            return opposite(_equal(kind, name, convert, (node.value,)))
        case tree.Relation.SAME | tree.Relation.CONTAINS | tree.Relation.STARTS_WITH | tree.Relation.ENDS_WITH:
            return _any_value(name, convert, _for_person(kind, _ignoring_case(node.relation, str(node.value.value))))
        case _:
            compare, bound = _ORDER[node.relation], value_of(kind, node.value)
            return _any_value(name, convert, lambda value: compare(value, bound))


def _ignoring_case(relation: tree.Relation, wanted: str) -> Predicate:
    if relation is tree.Relation.SAME:
        same = wanted.strip(PADDING).casefold()
        return lambda value: value.casefold() == same
    part = wanted.casefold()
    if relation is tree.Relation.CONTAINS:
        return lambda value: part in value.casefold()
    if relation is tree.Relation.STARTS_WITH:
        return lambda value: value.casefold().startswith(part)
    return lambda value: value.casefold().endswith(part)


def _matcher(node: tree.Matches) -> Predicate:
    search = compile_pattern(node.pattern, node.ignore_case).search

    def matches(value: str) -> bool:
        try:
            return search(value.encode()) is not None
        except UnicodeEncodeError as exc:
            raise UnreadableError(ascii(value), "well-formed text") from exc

    return matches


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
        return _any_value(name, convert, lambda value: not forms.isdisjoint(person_forms(value)))
    if convert is CONVERTERS[Kind.TEXT]:
        return _equal_text(name, wanted)
    return _any_value(name, convert, wanted.__contains__)


def _equal_text(name: str, wanted: frozenset[str]) -> Test:
    """As :func:`_any_value`, for the commonest question by far: text, usually one value, usually without padding."""

    def test(tags: Tags, _series: Sequence[Tags], _now: datetime) -> Truth:
        found: Truth = None
        for raw in tags.get(name, ()):
            if raw in wanted:
                return True
            value = raw.strip(PADDING)
            if value in wanted:
                return True
            if value:
                found = False
        return found

    return test


def _any_value(name: str, convert: Convert, predicate: Predicate) -> Test:
    """Return the test whether any value satisfies ``predicate``.

    Unknown if there is no value that is not blank, or if none satisfies it and one could not be read.
    """

    def test(tags: Tags, _series: Sequence[Tags], now: datetime) -> Truth:
        found: Truth = None
        unreadable = False
        for raw in tags.get(name, ()):
            try:
                value = convert(raw, now)
                if value is not None:
                    if predicate(value):
                        return True
                    found = False
            except UnreadableError:
                unreadable = True
        return None if unreadable else found

    return test


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

        return _any_value(name, convert, recent)(tags, series, now)

    return test


def _presence(node: tree.Presence, info: FieldInfo) -> Test:
    name, wanted = info.name, node.present
    inside = f"{name}." if info.kind in {Kind.SEQUENCE, Kind.UNTYPED} else None

    def test(tags: Tags, _series: Sequence[Tags], _now: datetime) -> Truth:
        found = any(raw.strip(PADDING) for raw in tags.get(name, ()))
        if not found and inside is not None:
            found = any(key.startswith(inside) for key in tags)
        return found is wanted

    return test
