"""Three-valued logic on closures: True, False, and None for unknown (Kleene's strong logic)."""

from collections.abc import Callable, Sequence
from datetime import datetime

from hermes_common.rules.explanation import Tags
from hermes_common.rules.tree import Relation

Truth = bool | None
Test = Callable[[Tags, Sequence[Tags], datetime], Truth]
"""A compiled expression: the tags in question, those of every series of the study, and the present."""


def both(tests: tuple[Test, ...]) -> Test:
    """Return the conjunction: false if one is false, else unknown if one is unknown. Stops at the first false."""

    def test(tags: Tags, series: Sequence[Tags], now: datetime) -> Truth:
        found: Truth = True
        for part in tests:
            truth = part(tags, series, now)
            if truth is False:
                return False
            if truth is None:
                found = None
        return found

    return test


def either(tests: tuple[Test, ...]) -> Test:
    """Return the disjunction: true if one is true, else unknown if one is unknown. Stops at the first true."""

    def test(tags: Tags, series: Sequence[Tags], now: datetime) -> Truth:
        found: Truth = False
        for part in tests:
            truth = part(tags, series, now)
            if truth is True:
                return True
            if truth is None:
                found = None
        return found

    return test


def opposite(part: Test) -> Test:
    """Return the negation; unknown stays unknown."""

    def test(tags: Tags, series: Sequence[Tags], now: datetime) -> Truth:
        truth = part(tags, series, now)
        return None if truth is None else not truth

    return test


def any_of(truths: Sequence[Truth]) -> Truth:
    """Return whether one is true; of none, false."""
    if True in truths:
        return True
    return None if None in truths else False


def all_of(truths: Sequence[Truth]) -> Truth:
    """Return whether all are true; of none, unknown: what holds for nothing must not make a rule fire."""
    if False in truths:
        return False
    return None if None in truths or not truths else True


def count_of(truths: Sequence[Truth], relation: Relation, amount: int) -> Truth:
    """Compare the number of true ones with ``amount``; unknown if the unknown ones could change the answer."""
    least = sum(truth is True for truth in truths)
    most = least + sum(truth is None for truth in truths)
    match relation:
        case Relation.EQUAL:
            return least == amount if least == most else (None if least <= amount <= most else False)
        case Relation.NOT_EQUAL:
            return least != amount if least == most else (None if least <= amount <= most else True)
        case Relation.LESS:
            return _settled(most < amount, least < amount)
        case Relation.LESS_EQUAL:
            return _settled(most <= amount, least <= amount)
        case Relation.GREATER:
            return _settled(least > amount, most > amount)
        case Relation.GREATER_EQUAL:
            return _settled(least >= amount, most >= amount)
        case _:
            raise ValueError(f"series cannot be counted with {relation}")


def _settled(certain: bool, possible: bool) -> Truth:
    return True if certain else None if possible else False
