"""Before a rule is saved: what it changes, what speaks against it, and what somebody else changed meanwhile."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hermes_common.config import Kind, Revision, Rule, RuleSet, RuleState, Targets
from hermes_common.rules import Context, RuleError, Verdict, compile_rule
from hermes_common.rules.cases import CaseResult
from hermes_common.rules.differences import differences
from hermes_web.core.configuration import expression_problems, needs_problems, problems_of, with_rule
from hermes_web.core.merging import Merged, merge
from hermes_web.core.standing import own_cases
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, UnavailableError
from hermes_web.features.configuration.history import find_revision
from hermes_web.features.rules.stored import StoredSeries, recent_series
from hermes_web.features.rules.testing import check_expression
from hermes_web.features.rules.trying import SERIES
from hermes_web.web import Web


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What was saved since the editor was opened. ``merged`` is None if the rule itself was left alone."""

    present: Revision
    others: list[dict[str, Any]]
    """Differences of all rules since then."""
    merged: Merged | None
    removed: bool = False
    """Whether the rule itself was removed."""


@dataclass(frozen=True, slots=True)
class Review:
    """A rule as it would be saved on top of the present revision."""

    rule: Rule
    revision: int
    is_new: bool
    changes: list[dict[str, Any]]
    cases: list[CaseResult]
    warnings: list[str]
    meanwhile: Meanwhile | None

    @property
    def failing(self) -> list[CaseResult]:
        """The test cases that keep the rule from being active."""
        return [case for case in self.cases if not case.passed]


async def reviewed(web: Web, rule: Rule, base: int, is_new: bool, take: Sequence[str] = ()) -> Review:
    """Return what saving a rule would do, on top of what was saved since revision ``base``.

    Raise :class:`InvalidError` if it cannot be saved in any state.
    """
    present, rules = await web.rules()
    _, targets = await web.targets()
    meanwhile = None
    if present.revision != base:
        meanwhile = await _meanwhile(web, rule, base, present, rules, take)
        if meanwhile.merged is not None:
            rule = _whole(meanwhile.merged.fields)
    if problems := _problems(rule, targets):
        raise InvalidError(problems=problems)
    after = with_rule(rules, rule)
    collected = await web.collected()
    blind = []
    try:
        recent = await web.database.run(recent_series, SERIES)
    except UnavailableError:
        recent, blind = [], ["the history is away: whether a rule before it takes everything cannot be said now"]
    return Review(
        rule=rule,
        revision=present.revision,
        is_new=is_new,
        changes=differences(_dumped(rules), _dumped(after)),
        cases=await asyncio.to_thread(own_cases, after, rule),
        warnings=[
            *_doubts(rule, collected),
            *_about_targets(rule, targets),
            *blind,
            *await asyncio.to_thread(shadows, after, rule, recent),
        ],
        meanwhile=meanwhile,
    )


def _whole(fields: dict[str, Any]) -> Rule:
    """Return the rule that a merge makes; raise :class:`InvalidError` where what both changed does not go together."""
    try:
        return Rule.model_validate(fields)
    except ValidationError as error:
        raise InvalidError(problems=problems_of(error)) from error


async def _meanwhile(
    web: Web, rule: Rule, base: int, present: Revision, rules: RuleSet, take: Sequence[str]
) -> Meanwhile:
    old = RuleSet()
    if base:
        try:
            old = RuleSet.model_validate((await find_revision(web, Kind.RULES, base)).document)
        except (NotFoundError, UnavailableError, ValueError):
            old = RuleSet()
    before, theirs = _find(old, rule.slug), _find(rules, rule.slug)
    merged = None
    if theirs is not None and theirs != before:
        merged = merge(_fields(before), _fields(theirs), _fields(rule), take)
    removed = before is not None and theirs is None
    return Meanwhile(present, differences(_dumped(old), _dumped(rules)), merged, removed)


def _find(rules: RuleSet, slug: str) -> Rule | None:
    return next((rule for rule in rules.rules if rule.slug == slug), None)


def _fields(rule: Rule | None) -> dict[str, Any]:
    return {} if rule is None else rule.model_dump(mode="json")


def _dumped(rules: RuleSet) -> dict[str, Any]:
    return rules.model_dump(mode="json")


def _problems(rule: Rule, targets: Targets) -> list[FieldProblem]:
    found = expression_problems(rule, "expression") + needs_problems(rule, "needs")
    known = {target.slug for target in targets.targets}
    found += [
        FieldProblem("targets", f"there is no target {slug!r}: add it under Targets, or take it out of the rule")
        for slug in rule.targets
        if slug not in known
    ]
    return found


def _doubts(rule: Rule, collected: Sequence[str]) -> list[str]:
    if not rule.expression.strip():
        return []
    said = check_expression(rule.expression, rule.scope.value, collected)["warnings"]
    return [f"{rule.expression[each['start'] : each['end']]}: {each['message']}" for each in said]


def _about_targets(rule: Rule, targets: Targets) -> list[str]:
    paused = [slug for slug in rule.targets if (found := targets.get(slug)) is not None and not found.enabled]
    return [f"target {slug} is disabled: series wait for it" for slug in paused]


def shadows(rules: RuleSet, rule: Rule, recent: Sequence[StoredSeries]) -> list[str]:
    """Return the rules before this one that stop at every recent series that it matches, so that it never fires."""
    if rule.scope.value != "series" or rule.fallback:
        return []
    wanted = _matched(rule, recent)
    if not wanted:
        return []
    found = []
    for earlier in rules.rules:
        if earlier.slug == rule.slug:
            break
        stops = earlier.then.value == "stop" and earlier.state is RuleState.ACTIVE and earlier.scope.value == "series"
        if stops and not earlier.fallback and len(_matched(earlier, wanted)) == len(wanted):
            found.append(
                f"rule {earlier.slug} stands before it and stops at every one of the {len(wanted)} recent series that"
                " it matches: it would never fire. Move it up, or narrow the other rule"
            )
    return found


def _matched(rule: Rule, recent: Sequence[StoredSeries]) -> list[StoredSeries]:
    try:
        compiled = compile_rule(rule.expression, rule.scope.value)
    except RuleError:
        return []
    return [each for each in recent if compiled.evaluate(Context(each.fields), each.at) is Verdict.MATCH]
