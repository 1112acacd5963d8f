"""Does a rule make sense: fields that exist, operators and values that fit them; and what is allowed but doubtful."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal, assert_never

from hermes_common.dicom.names import canonical_name
from hermes_common.rules import tree
from hermes_common.rules.dictionary import FACTS, FieldInfo, Kind, NoField, Place, look_up, suggest
from hermes_common.rules.formatter import format_expression, format_rule
from hermes_common.rules.literals import literal_problem, literal_warning, value_of
from hermes_common.rules.parser import check_limits, parse
from hermes_common.rules.patterns import MAX_LENGTH, MAX_PATTERNS, pattern_problem
from hermes_common.rules.problems import Problem, RuleTypeError, Span

Scope = Literal["series", "study"]
"""What a rule is evaluated on."""

MAX_PROBLEMS = 20
_MAX_SUGGESTIONS = 2
"""Looking for a suggestion takes milliseconds; a text full of unknown names must not take seconds."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule that can be evaluated, and what is doubtful about it."""

    ast: tree.Rule
    warnings: tuple[Problem, ...]


def check(rule: str | tree.Rule, scope: str = "series", collected: Collection[str] | None = None) -> Checked:
    """Return the tree of a rule that makes sense in ``scope``, and warnings.

    Raise :class:`RuleSyntaxError` for a text that is no rule and :class:`RuleTypeError`, with up to 20 problems, for
    one that makes no sense, and :class:`ValueError` for a scope that is neither "series" nor "study". A tree without a
    source is formatted first, so that its spans refer to its canonical text.

    ``collected`` names the fields that are taken out of every image; then there is a warning for each other one, which
    is missing in every series.
    """
    place = _place(scope)
    ast = _parsed(rule)
    checker = _Checker(None if collected is None else frozenset(map(canonical_name, collected)))
    checker.visit(ast.expression, place)
    if checker.problems:
        raise RuleTypeError(tuple(checker.problems))
    guarded = {clause.field.name for clause in _clauses(ast.expression) if isinstance(clause, tree.Presence)}
    warnings = [*checker.warnings, *islice(_negations(ast.expression, guarded), MAX_PROBLEMS)]
    return Checked(ast, tuple(sorted(warnings, key=lambda problem: problem.span.start)))


def _parsed(rule: str | tree.Rule) -> tree.Rule:
    if isinstance(rule, str):
        return parse(rule)
    if rule.source:
        return rule
    check_limits(rule.expression)
    return parse(format_rule(rule))


def _place(scope: str) -> Scope:
    if scope == "series":
        return "series"
    if scope == "study":
        return "study"
    raise ValueError(f"{scope!r} is not the scope of a rule")


def _clauses(node: tree.Expression) -> Iterator[tree.Clause]:
    if isinstance(node, tree.Clause):
        yield node
    for child in tree.children(node):
        yield from _clauses(child)


def _negations(node: tree.Expression, guarded: set[str], inside: tree.Not | None = None) -> Iterator[Problem]:
    """Warn of every negation that is not true, as many would expect, when the field is missing."""
    if isinstance(node, tree.Not):
        inside = node
    if isinstance(node, tree.Clause):
        negative = inside is not None or tree.operator(node) in {"!=", "not in"}
        info = look_up(node.field.name)
        if negative and isinstance(info, FieldInfo) and info.optional and info.name not in guarded:
            yield _negation(node, inside)
    for child in tree.children(node):
        yield from _negations(child, guarded, inside)


def _negation(node: tree.Clause, inside: tree.Not | None) -> Problem:
    """Offer what makes the negation true for a missing field, too, as the text to put in the place of the span."""
    name = node.field.name
    message = f"not true but unknown where {name} is missing, so the rule does not fire then"
    whole = node if inside is None else inside
    if inside is not None and inside.item != node:
        return Problem("missing", message, node.span, (), f"({format_expression(node)} and {name} is present)")
    return Problem("missing", message, whole.span, (), f"({format_expression(whole)} or {name} is missing)")


@dataclass(slots=True)
class _Checker:
    """Collects problems and warnings while it walks a tree."""

    collected: frozenset[str] | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    suggestions: int = 0
    patterns: list[str] = field(default_factory=list)
    bad_pattern: bool = False
    """One was found: the others are not tried, because that takes time."""

    def visit(self, node: tree.Expression, place: Place) -> None:
        match node:
            case tree.And() | tree.Or() | tree.Not():
                for child in tree.children(node):
                    self.visit(child, place)
            case tree.SomeSeries() | tree.CountSeries():
                self._quantifier(node, place)
            case _:
                self._clause(node, place)

    def _quantifier(self, node: tree.SomeSeries | tree.CountSeries, place: Place) -> None:
        if place == "study":
            self.visit(node.body, "series in study")
            return
        why = "stands in study rules only" if place == "series" else "cannot stand inside another one"
        self._problem("quantifier", f"a quantifier over the series {why}", node.span)

    def _clause(self, node: tree.Clause, place: Place) -> None:
        info = self._field(node.field, place)
        if info is None:
            return
        self._field_warnings(node.field, info)
        if (written := tree.operator(node)) not in info.operators:
            message = f"{written} does not go with {info.name}, which is {_described(info)}"
            self._problem("operator", message, node.span, info.operators)
            return
        match node:
            case tree.Compare():
                self._values(info, written, (node.value,))
            case tree.Member():
                self._values(info, written, node.values)
            case tree.Between():
                self._values(info, written, (node.low, node.high))
                self._bounds(info, node)
            case tree.Matches():
                self._pattern(node)
            case tree.Within():
                self._within(info, node)
            case tree.Presence():
                pass
            case _:
                assert_never(node)

    def _field(self, found: tree.Field, place: Place) -> FieldInfo | None:
        info = look_up(found.name)
        if isinstance(info, NoField):
            suggestion = self._suggestion(found.name, info.part)
            self._problem("field", info.message, found.span, suggestion=suggestion)
            return None
        if place not in info.places:
            where = {
                "series": "in study rules only",
                "study": "in series rules, and inside any, all or count series (…)",
                "series in study": "outside the parentheses",
            }[place]
            self._problem("field", f"{info.name} can be asked for {where}", found.span)
            return None
        return info

    def _suggestion(self, name: str, part: str) -> str | None:
        self.suggestions += 1
        if not part or self.suggestions > _MAX_SUGGESTIONS:
            return None
        likely = suggest(part)
        return None if likely is None else name.replace(part, likely, 1)

    def _field_warnings(self, found: tree.Field, info: FieldInfo) -> None:
        if info.retired:
            message = f"{info.name} is retired from the standard: new devices do not send it"
            self.warnings.append(Problem("retired", message, found.span))
        if self.collected is not None and info.name not in FACTS and not self._is_collected(info.name):
            message = f"{info.name} is not read from the images, so it is missing in every series until it is added"
            self.warnings.append(Problem("uncollected", f"{message} to the policies as an extra tag", found.span))

    def _is_collected(self, name: str) -> bool:
        """Return whether values of a field can be there: a sequence is known by the paths into it."""
        collected = self.collected or frozenset()
        return name in collected or any(each.startswith(f"{name}.") for each in collected)

    def _values(self, info: FieldInfo, written: str, values: tuple[tree.Literal_, ...]) -> None:
        for value in values:
            if (wrong := literal_problem(info, written, value)) is not None:
                self._add(wrong)
            elif (doubt := literal_warning(info, written, value)) is not None:
                self.warnings.append(doubt)
        if info.kind is Kind.UNTYPED and len({type(value) for value in values}) > 1:
            self._problem("value", f"texts and numbers are mixed for {info.name}", values[0].span)

    def _bounds(self, info: FieldInfo, node: tree.Between) -> None:
        if self.problems:
            return
        if value_of(info.kind, node.low) > value_of(info.kind, node.high):
            turned = format_expression(replace(node, low=node.high, high=node.low))
            message = "never true: the lower bound is above the upper one"
            self.warnings.append(Problem("bounds", message, node.span, (), turned))

    def _pattern(self, node: tree.Matches) -> None:
        self.patterns.append(node.pattern)
        if len(self.patterns) > MAX_PATTERNS or sum(map(len, self.patterns)) > MAX_LENGTH:
            message = f"a rule may have {MAX_PATTERNS} patterns, of {MAX_LENGTH} characters altogether"
            self._problem("limit", message, node.span)
        elif not self.bad_pattern and (wrong := pattern_problem(node.pattern, node.ignore_case)) is not None:
            self.bad_pattern = True
            self._problem("pattern", wrong, node.span)

    def _within(self, info: FieldInfo, node: tree.Within) -> None:
        if info.kind is Kind.DATE and node.unit is not tree.Unit.DAYS:
            message = f"{info.name} has no time of day: only days can be counted"
            self._problem("unit", message, node.span, ("days",))

    def _problem(
        self, code: str, message: str, span: Span, expected: tuple[str, ...] = (), suggestion: str | None = None
    ) -> None:
        self._add(Problem(code, message, span, expected, suggestion))

    def _add(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def _described(info: FieldInfo) -> str:
    return f"{info.kind.value} ({info.vr})" if info.vr else info.kind.value
