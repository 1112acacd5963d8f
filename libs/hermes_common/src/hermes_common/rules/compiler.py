"""A checked rule to closures: one that only answers, and one that explains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from hermes_common.rules import tree
from hermes_common.rules.checker import check
from hermes_common.rules.clauses import clause_test
from hermes_common.rules.explanation import (
    VERDICTS,
    ClauseResult,
    Context,
    Explanation,
    Outcome,
    SeriesResult,
    Tags,
    Verdict,
)
from hermes_common.rules.formatter import format_expression
from hermes_common.rules.kleene import Test, Truth, all_of, any_of, both, count_of, either, opposite
from hermes_common.rules.problems import Problem, Span
from hermes_common.rules.values import PADDING, Convert, UnreadableError, shorten

Look = Callable[[Tags, Sequence[Tags], datetime, list[ClauseResult]], Outcome]
"""An expression compiled to explain: it adds the results of its clauses to the list."""

MAX_SEEN = 8
MAX_LENGTH = 64
MAX_SERIES = 32
"""How many series are explained one by one inside a quantifier; all of them count."""

_TRUE, _FALSE, _UNKNOWN, _ERROR = Outcome.TRUE, Outcome.FALSE, Outcome.UNKNOWN, Outcome.ERROR
_OUTCOMES = {True: _TRUE, False: _FALSE, None: _UNKNOWN}


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be evaluated any number of times, by any number of threads; it has no state."""

    ast: tree.Rule
    warnings: tuple[Problem, ...]
    _test: Test
    _looks: tuple[Look, ...]

    def evaluate(self, context: Context, now: datetime) -> Verdict:
        """Return the verdict; never raise. ``now`` is aware, its zone is that in which DICOM dates and times are read.

        ``ERROR`` is a defect of the rule engine or of what it was given, not of the data: see :meth:`explain`.
        """
        try:
            truth = self._test(context.tags, context.series, now)
        except Exception:  # noqa: BLE001  # a defect must not read as "no match"
            return Verdict.ERROR
        return Verdict.MATCH if truth else Verdict.UNKNOWN if truth is None else Verdict.NO_MATCH

    def explain(self, context: Context, now: datetime) -> Explanation:
        """Return the verdict, the same as :meth:`evaluate` gives, with the result of every clause.

        Whatever the values are, it does not raise: a defect is the outcome of its clause.
        """
        results: list[ClauseResult] = []
        outcomes = [look(context.tags, context.series, now, results) for look in self._looks]
        unmet = sum(outcome is not _TRUE for outcome in outcomes)
        return Explanation(VERDICTS[_first(outcomes, _FALSE)], tuple(results), unmet, len(outcomes))


def compile_rule(rule: str | tree.Rule, scope: str = "series") -> CompiledRule:
    """Check ``rule`` and return it compiled; raise what :func:`hermes_common.rules.check` raises."""
    checked = check(rule, scope)
    expression = checked.ast.expression
    operands = expression.items if isinstance(expression, tree.And) else (expression,)
    test, looks = _compile_all(operands)
    whole = both(test) if len(test) > 1 else test[0]
    return CompiledRule(checked.ast, checked.warnings, whole, looks)


def _compile_all(nodes: tuple[tree.Expression, ...]) -> tuple[tuple[Test, ...], tuple[Look, ...]]:
    pairs = [_compile(node) for node in nodes]
    return tuple(test for test, _ in pairs), tuple(look for _, look in pairs)


def _compile(node: tree.Expression) -> tuple[Test, Look]:
    """Return an expression compiled to answer and compiled to explain."""
    match node:
        case tree.And():
            tests, looks = _compile_all(node.items)
            return both(tests), _look_at_all(looks, _FALSE)
        case tree.Or():
            tests, looks = _compile_all(node.items)
            return either(tests), _look_at_all(looks, _TRUE)
        case tree.Not():
            test, look = _compile(node.item)
            return opposite(test), _look_at_opposite(look)
        case tree.SomeSeries() | tree.CountSeries():
            return _quantifier(node)
        case _:
            test, convert = clause_test(node)
            return test, _look_at_clause(node, test, convert)


def _look_at_all(looks: tuple[Look, ...], decisive: Outcome) -> Look:
    def look(tags: Tags, series: Sequence[Tags], now: datetime, results: list[ClauseResult]) -> Outcome:
        return _first([part(tags, series, now, results) for part in looks], decisive)

    return look


def _first(outcomes: list[Outcome], decisive: Outcome) -> Outcome:
    """Return the first outcome that is decisive or an error, as evaluation stops there; then Kleene's logic."""
    for outcome in outcomes:
        if outcome is decisive or outcome is _ERROR:
            return outcome
    if _UNKNOWN in outcomes:
        return _UNKNOWN
    return _TRUE if decisive is _FALSE else _FALSE


def _look_at_opposite(part: Look) -> Look:
    turned = {_TRUE: _FALSE, _FALSE: _TRUE}

    def look(tags: Tags, series: Sequence[Tags], now: datetime, results: list[ClauseResult]) -> Outcome:
        outcome = part(tags, series, now, results)
        return turned.get(outcome, outcome)

    return look


def _look_at_clause(node: tree.Clause, test: Test, convert: Convert) -> Look:
    text, span, name, presence = format_expression(node), node.span, node.field.name, isinstance(node, tree.Presence)

    def look(tags: Tags, series: Sequence[Tags], now: datetime, results: list[ClauseResult]) -> Outcome:
        try:
            outcome = _OUTCOMES[test(tags, series, now)]
            seen = _seen(tags.get(name, ()))
            reason = _reason(name, tags, convert, now) if presence or outcome is _UNKNOWN else ""
        except Exception as exc:  # noqa: BLE001  # a defect is a result of its own, and hides no other clause
            outcome, seen, reason = _ERROR, (), _failure(exc)
        results.append(ClauseResult(text, span, outcome, seen, reason))
        return outcome

    return look


def _seen(values: Sequence[str]) -> tuple[str, ...]:
    if len(values) == 1 and len(values[0]) <= MAX_LENGTH:
        return (values[0],)
    return tuple(shorten(value, MAX_LENGTH) for value in values[:MAX_SEEN])


def _failure(exc: Exception) -> str:
    return shorten(f"{type(exc).__name__}: {exc}", 200)


def _reason(name: str, tags: Tags, convert: Convert, now: datetime) -> str:
    """Say why a value gave no answer, or what there is of a field."""
    if name not in tags:
        inside = sum(key.startswith(f"{name}.") for key in tags)
        return f"{name} has items" if inside else f"{name} is absent"
    values = tags[name]
    if not any(value.strip(PADDING) for value in values):
        return f"{name} is empty"
    for value in values:
        try:
            convert(value, now)
        except UnreadableError as exc:
            return f"{name}: {exc}"
    return f"{name} has a value"


def _quantifier(node: tree.SomeSeries | tree.CountSeries) -> tuple[Test, Look]:
    inner, inner_look = _compile(node.body)
    decide = _decision(node)

    def test(_tags: Tags, series: Sequence[Tags], now: datetime) -> Truth:
        return decide([inner(tags, (), now) for tags in series])

    return test, _look_at_series(format_expression(node), node.span, test, inner_look)


def _decision(node: tree.SomeSeries | tree.CountSeries) -> Callable[[Sequence[Truth]], Truth]:
    if isinstance(node, tree.SomeSeries):
        return any_of if node.quantifier == "any" else all_of
    relation, amount = node.relation, node.amount
    return lambda truths: count_of(truths, relation, amount)


def _look_at_series(text: str, span: Span, test: Test, inner: Look) -> Look:
    def look(tags: Tags, series: Sequence[Tags], now: datetime, results: list[ClauseResult]) -> Outcome:
        try:
            outcome = _OUTCOMES[test(tags, series, now)]
            parts, reason = _look_into(series, now, inner)
        except Exception as exc:  # noqa: BLE001  # as for a clause
            outcome, parts, reason = _ERROR, (), _failure(exc)
        results.append(ClauseResult(text, span, outcome, (), reason, parts))
        return outcome

    return look


def _look_into(series: Sequence[Tags], now: datetime, inner: Look) -> tuple[tuple[SeriesResult, ...], str]:
    """Explain the expression in the parentheses for every series, and count."""
    parts: list[SeriesResult] = []
    for index, tags in enumerate(series):
        results: list[ClauseResult] = []
        outcome = inner(tags, (), now, results)
        uid = next(iter(tags.get("SeriesInstanceUID", ())), "")
        parts.append(SeriesResult(index, uid, outcome, tuple(results)))
    true = sum(part.outcome is _TRUE for part in parts)
    unknown = sum(part.outcome is _UNKNOWN for part in parts)
    reason = f"true for {true} of {len(parts)} series" + (f", unknown for {unknown}" if unknown else "")
    return tuple(parts[:MAX_SERIES]), reason
