"""The values written in a rule: do they fit the field that they are compared with, and what are they then."""

from datetime import UTC, datetime
from typing import Any

from hermes_common.rules import tree
from hermes_common.rules.dictionary import FieldInfo, Kind
from hermes_common.rules.problems import Problem
from hermes_common.rules.values import CONVERTERS, PADDING, UnreadableError

_NUMBERS = frozenset({Kind.NUMBER, Kind.AGE, Kind.WEEKDAY})
_ORDER = frozenset({"<", "<=", ">", ">=", "between"})
_PARTIAL = frozenset({"contains", "starts with", "ends with", "~="})
_WHOLE = frozenset({"==", "!=", "in", "not in", "has", "~="})
_LONGEST = {"AE": 16, "CS": 16, "SH": 16, "LO": 64, "UI": 64, "ST": 1024, "LT": 10240}
"""PS3.5 6.2; PN is left out because its limit is on each representation."""


def value_of(kind: Kind, literal: tree.Literal_) -> Any:
    """Return what ``literal`` is when compared with a field of ``kind``; None if it is blank.

    A date with time becomes one without a zone, to be read in the zone of the evaluation. Raise
    :class:`UnreadableError` if it does not fit.
    """
    if isinstance(literal, tree.Text):
        if kind is Kind.DATETIME and _has_offset(literal.value):
            raise UnreadableError(literal.value, "a date and time without an offset")
        return CONVERTERS[kind](literal.value, _EPOCH)
    if kind is Kind.WEEKDAY:
        return CONVERTERS[kind](str(literal.value), _EPOCH)
    return literal.value


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the present where no value depends on it."""


def _has_offset(value: str) -> bool:
    text = value.strip(PADDING)
    return "+" in text or "-" in text[8:]


def literal_problem(info: FieldInfo, operator: str, literal: tree.Literal_) -> Problem | None:
    """Return why ``literal`` cannot follow ``operator`` for this field, None if it can."""
    number = isinstance(literal, tree.Number)
    if info.kind is Kind.UNTYPED:
        return _untyped_problem(operator, literal)
    if number and info.kind not in _NUMBERS:
        value = f'"{literal.value}"'
        return _misfit(info, literal, f"{literal.value} without quotes is a number", value)
    if not number and info.kind is Kind.NUMBER:
        return _misfit(info, literal, "a quoted value is a text", _unquoted(literal))
    try:
        value_of(info.kind, literal)
    except UnreadableError as exc:
        return _misfit(info, literal, str(exc), None)
    if info.kind not in {Kind.TEXT, Kind.PERSON} and value_of(info.kind, literal) is None:
        return _misfit(info, literal, "the value is blank", None)
    return None


def _untyped_problem(operator: str, literal: tree.Literal_) -> Problem | None:
    if operator in _ORDER and isinstance(literal, tree.Text):
        message = "the values of a private tag can only be ordered as numbers"
        return Problem("value", message, literal.span, ("a number",), _unquoted(literal))
    if operator in _PARTIAL and isinstance(literal, tree.Number):
        return Problem("value", f"{operator} needs a text", literal.span, ("a quoted text",), f'"{literal.value}"')
    return None


def _unquoted(literal: tree.Literal_) -> str | None:
    try:
        return str(literal.value) if CONVERTERS[Kind.NUMBER](str(literal.value), _EPOCH) is not None else None
    except UnreadableError:
        return None


def _misfit(info: FieldInfo, literal: tree.Literal_, why: str, suggestion: str | None) -> Problem:
    message = f"{info.name} is {info.kind.value}{f' ({info.vr})' if info.vr else ''}, and {why}"
    return Problem("value", message, literal.span, (EXPECTED[info.kind],), suggestion)


EXPECTED = {
    Kind.TEXT: "a quoted text",
    Kind.PERSON: "a quoted text",
    Kind.NUMBER: "a number",
    Kind.DATE: 'a date such as "2026-01-31"',
    Kind.TIME: 'a time such as "08:30"',
    Kind.DATETIME: 'a date and time such as "2026-01-31 08:30"',
    Kind.AGE: 'a number of years, or an age such as "018M"',
    Kind.WEEKDAY: 'a day such as "monday"',
    Kind.UNTYPED: "a quoted text or a number",
}
"""How a value of each type is written."""


def literal_warning(info: FieldInfo, operator: str, literal: tree.Literal_) -> Problem | None:
    """Return why a comparison with ``literal`` is probably not what was meant, None if nothing speaks for that."""
    if isinstance(literal, tree.Number) or info.kind not in {Kind.TEXT, Kind.PERSON, Kind.UNTYPED}:
        return None
    text = literal.value.strip(PADDING)
    if not text and operator in _WHOLE:
        message = "a blank value counts as missing, so this is never true"
        return Problem("blank", message, literal.span, (), f"{info.name} is missing")
    if not literal.value:
        return Problem("blank", "every value has that", literal.span, (), f"{info.name} is present")
    if operator in _WHOLE and len(text) > _LONGEST.get(info.vr, len(text)):
        message = f"never true: a value of {info.name} ({info.vr}) has at most {_LONGEST[info.vr]} characters"
        return Problem("length", message, literal.span)
    if operator in _WHOLE - {"~="} and info.vr == "CS" and text != text.upper():
        message = f"values of {info.name} (CS) are in capitals; ~= ignores case"
        return Problem("case", message, literal.span, (), f'"{text.upper()}"')
    return None
