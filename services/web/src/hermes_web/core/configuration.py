"""Whether a configuration document may be saved: its own fields, and how it fits the other documents."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from hermes_common.alerting import CHANNEL_KINDS
from hermes_common.config import (
    MODELS,
    AnyDocument,
    AnyTarget,
    Kind,
    Policies,
    Retention,
    Rule,
    RuleSet,
    Sources,
    Targets,
)
from hermes_common.retention import too_short
from hermes_common.rules import Problem, RuleError, check
from hermes_common.rules.cases import run_cases
from hermes_common.secrets import is_mark, mark_of
from hermes_common.targets import KINDS
from hermes_common.validation_words import plain_words
from hermes_web.errors import FieldProblem, InvalidError

RESERVED = frozenset({"new"})
_VARIANTS = frozenset({*KINDS, *CHANNEL_KINDS, "none", "basic", "bearer", "oauth2"})


def parse_document(kind: Kind, document: Any) -> AnyDocument:
    """Return a document as its model; raise :class:`InvalidError` that names every field and why.

    A model is looked at like anything else: what was copied and changed may have become too long.
    """
    plain = document.model_dump() if isinstance(document, BaseModel) else document
    try:
        return MODELS[kind].model_validate(plain)
    except ValidationError as error:
        raise InvalidError(problems=problems_of(error)) from error


def kept_passcodes(given: Sources, present: Sources) -> Sources:
    """Return senders with what is kept of a passcode in the place of each mark of it.

    Raises :class:`InvalidError` that names a mark of which nothing is kept any longer.
    """
    users = [user for source in present.sources for user in source.users]
    kept = {mark_of(user.passcode): user.passcode for user in users if user.passcode is not None}
    problems = []
    sources = []
    for place, source in enumerate(given.sources):
        known = []
        for number, user in enumerate(source.users):
            passcode = user.passcode
            if passcode is not None and is_mark(passcode):
                if passcode not in kept:
                    field = f"sources[{place}].users[{number}].passcode"
                    problems.append(FieldProblem(field, "no passcode is kept under this mark; set it again"))
                passcode = kept.get(passcode)
            known.append(user.model_copy(update={"passcode": passcode}))
        sources.append(source.model_copy(update={"users": tuple(known)}))
    if problems:
        raise InvalidError(problems=problems)
    return given.model_copy(update={"sources": tuple(sources)})


def problems_of(error: ValidationError, prefix: str = "") -> list[FieldProblem]:
    """Return what pydantic found, with fields such as ``rules[3].expression``."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [FieldProblem(path_of(item["loc"], prefix), plain_words(item["msg"])) for item in found[:100]]


def path_of(location: Sequence[str | int], prefix: str = "") -> str:
    """Return the path of a field such as ``rules[3].expression``; kinds of target and ways to sign in are left out."""
    path = prefix
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _VARIANTS:
            path += f".{part}" if path else part
    return path or "document"


def check_fit(kind: Kind, document: AnyDocument, rules: RuleSet, targets: Targets) -> None:
    """Raise :class:`InvalidError` if the document does not fit the present rules and targets."""
    problems: list[FieldProblem] = []
    if kind is Kind.RULES:
        checked = cast(RuleSet, document)
        problems = rule_problems(checked, targets) or case_problems(checked)
    elif kind is Kind.POLICIES:
        policies = cast(Policies, document)
        problems = condition_problems(policies) + retention_problems(policies.retention, rules, targets)
    elif kind is Kind.TARGETS:
        problems = _removed_targets(cast(Targets, document), rules)
    if problems:
        raise InvalidError(problems=problems[:100])


def rule_problems(rules: RuleSet, targets: Targets) -> list[FieldProblem]:
    """Return what is wrong with expressions and targets, each with its rule's place."""
    known = {target.slug for target in targets.targets}
    problems: list[FieldProblem] = []
    for index, rule in enumerate(rules.rules):
        if rule.slug in RESERVED:
            message = f"{rule.slug!r} is the address of a form; choose another short name"
            problems.append(FieldProblem(f"rules[{index}].slug", message, rule=rule.slug))
        problems += expression_problems(rule, f"rules[{index}].expression")
        problems += needs_problems(rule, f"rules[{index}].needs")
        for place, slug in enumerate(rule.targets):
            if slug not in known:
                message = f"rule {rule.slug}: there is no target {slug!r}; add it under Targets first"
                problems.append(FieldProblem(f"rules[{index}].targets[{place}]", message, rule=rule.slug))
    return problems


def case_problems(rules: RuleSet) -> list[FieldProblem]:
    """Return the test cases that keep an active rule from being active, each with the reason clause by clause."""
    places = {rule.slug: index for index, rule in enumerate(rules.rules)}
    return [
        FieldProblem(
            f"rules[{places[result.rule]}].cases[{result.number}]",
            f"rule {result.rule}, test case {result.case!r}: {result.reason}. "
            "Correct the rule or the case, or make the rule a draft",
            rule=result.rule,
            case=result.case,
            clauses=[clause.to_dict() for clause in result.clauses],
        )
        for result in run_cases(rules.rules)
        if result.forbids
    ]


def expression_problems(rule: Rule, field: str) -> list[FieldProblem]:
    """Return what is wrong with a rule's expression, at its line and column."""
    if rule.fallback and not rule.expression.strip():
        return []
    try:
        check(rule.expression, rule.scope.value)
    except RuleError as error:
        return [replace(problem_at(problem, field), rule=rule.slug) for problem in error.problems]
    return []


def needs_problems(rule: Rule, field: str) -> list[FieldProblem]:
    """Return what is wrong with the series that a rule needs."""
    required = () if rule.needs is None else rule.needs.required
    return [
        replace(problem, rule=rule.slug)
        for place, text in enumerate(required)
        for problem in _text_problems(f"{field}.required[{place}]", text, "series")
    ]


def retention_problems(retention: Retention, rules: RuleSet, targets: Targets) -> list[FieldProblem]:
    """Return what is wrong with a retention: spans that are too short, rules and targets that are not there."""
    problems = [FieldProblem(f"retention.{field}", words) for field, words in too_short(retention)]
    for place, entry in enumerate(retention.rules):
        if entry.rule not in {rule.slug for rule in rules.rules}:
            words = f"there is no rule {entry.rule!r}: correct or remove this entry"
            problems.append(FieldProblem(f"retention.rules[{place}].rule", words))
    for place, target in enumerate(retention.targets):
        if targets.get(target.target) is None:
            words = f"there is no target {target.target!r}: correct or remove this entry"
            problems.append(FieldProblem(f"retention.targets[{place}].target", words))
    return problems


def condition_problems(policies: Policies) -> list[FieldProblem]:
    """Return what is wrong with the expressions of the conditions under which a study is complete."""
    problems: list[FieldProblem] = []
    for index, condition in enumerate(policies.completion.study.conditions):
        field = f"completion.study.conditions[{index}]"
        texts = [(f"{field}.when", condition.when, "study")] if condition.when.strip() else []
        texts += [(f"{field}.required[{place}]", text, "series") for place, text in enumerate(condition.required)]
        for name, text, scope in texts:
            problems += _text_problems(name, text, scope)
    return problems


def _text_problems(field: str, text: str, scope: str) -> list[FieldProblem]:
    try:
        check(text, scope)
    except RuleError as error:
        return [problem_at(problem, field) for problem in error.problems]
    return []


def problem_at(problem: Problem, field: str) -> FieldProblem:
    """Return a problem of the rule language as one of a field."""
    message = problem.message
    if problem.expected:
        message += f"; expected {', '.join(problem.expected[:8])}"
    return FieldProblem(field, message, problem.span.line, problem.span.column, problem.suggestion)


def _removed_targets(targets: Targets, rules: RuleSet) -> list[FieldProblem]:
    kept = {target.slug for target in targets.targets}
    problems = []
    for slug in dict.fromkeys(slug for rule in rules.rules for slug in rule.targets):
        if slug not in kept:
            users = ", ".join(rule.slug for rule in rules.rules if slug in rule.targets)
            message = f"target {slug} is used by the rules {users}: take it out of them before you remove it"
            problems.append(FieldProblem("targets", message))
    return problems


def used_by(slug: str, rules: RuleSet) -> list[Rule]:
    """Return the rules that send to a target."""
    return [rule for rule in rules.rules if slug in rule.targets]


def with_target(targets: Targets, target: AnyTarget) -> Targets:
    """Return the targets with one added, or put in the place of the one of the same slug."""
    if targets.get(target.slug) is None:
        return Targets(targets=(*targets.targets, target))
    return Targets(targets=tuple(target if item.slug == target.slug else item for item in targets.targets))


def with_rule(rules: RuleSet, rule: Rule) -> RuleSet:
    """Return the rules with one added at the end, or put in the place of the one of the same slug."""
    if rule.slug not in {item.slug for item in rules.rules}:
        return RuleSet(rules=(*rules.rules, rule))
    return RuleSet(rules=tuple(rule if item.slug == rule.slug else item for item in rules.rules))


def without_rule(rules: RuleSet, slug: str) -> RuleSet:
    """Return the rules without one."""
    return RuleSet(rules=tuple(item for item in rules.rules if item.slug != slug))


def moved_rule(rules: RuleSet, slug: str, up: bool) -> RuleSet:
    """Return the rules with one moved by one place; at the end nothing changes."""
    items = list(rules.rules)
    place = next((index for index, item in enumerate(items) if item.slug == slug), None)
    other = None if place is None else place + (-1 if up else 1)
    if place is not None and other is not None and 0 <= other < len(items):
        items[place], items[other] = items[other], items[place]
    return RuleSet(rules=tuple(items))


def placed_rule(rules: RuleSet, slug: str, place: int) -> RuleSet:
    """Return the rules with one at a place (from 1) and the others in their order around it."""
    others = [item for item in rules.rules if item.slug != slug]
    moved = [item for item in rules.rules if item.slug == slug]
    at = min(max(place - 1, 0), len(others))
    return RuleSet(rules=(*others[:at], *moved, *others[at:]))
