"""Checking and testing rules: against edited tags, the tags of a stored series, or the header of a DICOM file."""

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from hermes_common.config import Rule, RuleSet, RuleState, Scope, Targets
from hermes_common.dicom.errors import DicomError, HeadTooShort
from hermes_common.dicom.names import canonical_name
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.dicom.tags import DEFAULT_TAGS, TagSelection
from hermes_common.rules import CompiledRuleSet, Context, RuleError, SetDecision, check, decide, format_rule
from hermes_common.rules.cases import run_cases
from hermes_common.rules.outline import outline
from hermes_common.rules.problems import Problem
from hermes_web.core.configuration import expression_problems
from hermes_web.errors import FieldProblem, InvalidError

MAX_TAGS = 500
MAX_VALUES = 100
ALONE = "this-rule"
"""The slug of an expression that is tried without a rule around it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What rules are tried on: fields, when, what it is, and what was odd about it."""

    fields: dict[str, list[str]]
    at: datetime
    what: str
    warnings: list[str] = field(default_factory=list)


def check_expression(expression: str, scope: str, collected: Collection[str] | None = None) -> dict[str, Any]:
    """Return whether an expression is a rule, its canonical form, its tree, and every problem with its place.

    ``collected`` names the tags that are read from the images; then there is a warning for each other one.
    """
    try:
        checked = check(expression, scope, collected)
    except RuleError as error:
        return {
            "valid": False,
            "canonical": None,
            "problems": [item.to_dict() for item in error.problems],
            "warnings": [],
            "outline": None,
        }
    return {
        "valid": True,
        "canonical": format_rule(checked.ast),
        "problems": [],
        "warnings": [item.to_dict() for item in checked.warnings],
        "outline": outline(checked.ast),
    }


def rule_warnings(rules: RuleSet, collected: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return what is probably not meant in a rule set, each with the rule it is about; failing test cases, too."""
    found: list[dict[str, Any]] = []
    for rule in rules.rules:
        found += [{"rule": rule.slug, **warning.to_dict()} for warning in _warnings(rule, collected)]
    for result in run_cases(rules.rules):
        if not result.passed and not result.forbids:
            message = f"test case {result.case!r} fails: {result.reason}"
            found.append({"rule": result.rule, "case": result.case, "message": message})
    return found


def _warnings(rule: Rule, collected: Collection[str] | None) -> Sequence[Problem]:
    if not rule.expression.strip():
        return ()
    try:
        return check(rule.expression, rule.scope.value, collected).warnings
    except RuleError:
        return ()


def is_usable(rule: Rule) -> bool:
    """Return whether a rule can be evaluated; one from an older release may not be."""
    return _is_usable(rule.expression, rule.scope, rule.fallback)


@lru_cache(maxsize=4096)
def _is_usable(expression: str, scope: Scope, fallback: bool) -> bool:
    asked = Rule(slug="x", name="x", expression=expression, scope=scope, fallback=fallback, targets=("x",))
    return not expression_problems(asked, "expression")


def refuse_broken(rules: RuleSet) -> None:
    """Raise :class:`InvalidError` if an expression of a draft is no rule, with the place."""
    problems = [
        problem
        for index, rule in enumerate(rules.rules)
        for problem in expression_problems(rule, f"rules[{index}].expression")
    ]
    if problems:
        raise InvalidError("The draft cannot be evaluated", "Correct the rules that are named.", problems[:100])


def activated(rules: RuleSet, slugs: Collection[str]) -> RuleSet:
    """Return the rules with some of them active, to see what they would do; raise if there is no such rule."""
    unknown = sorted(set(slugs) - {rule.slug for rule in rules.rules})
    if unknown:
        message = f"there is no rule {', '.join(unknown)}"
        raise InvalidError("There is no such rule", "Correct the short name.", [FieldProblem("activate", message)])
    active = {"state": RuleState.ACTIVE}
    return RuleSet(rules=tuple(r.model_copy(update=active) if r.slug in slugs else r for r in rules.rules))


def try_rules(rules: RuleSet, subject: Subject) -> SetDecision:
    """Return what the rules say, clause by clause."""
    return decide(CompiledRuleSet.compile(rules.rules, "series"), Context(subject.fields), subject.at)


def alone(expression: str) -> RuleSet:
    """Return an expression as the only rule of a set; without one it matches everything."""
    rule = {"slug": ALONE, "name": ALONE, "expression": expression, "targets": [ALONE]}
    return RuleSet.model_validate({"rules": [{**rule, "fallback": not expression.strip()}]})


def answer(decision: SetDecision, subject: Subject, targets: Targets, revision: int | None) -> dict[str, Any]:
    """Return a decision as the API says it, with the deliveries that would follow."""
    deliveries = []
    for planned in decision.targets:
        target = targets.get(planned.target)
        state = "not configured" if target is None else "ready" if target.enabled else "paused"
        deliveries.append({**planned.to_dict(), "name": planned.target if target is None else target.name, "is": state})
    return {
        **decision.to_dict(),
        "deliveries": deliveries,
        "dry_runs": [result.slug for result in decision.dry_runs if result.status.value == "would_fire"],
        "failures": [{"rule": result.slug, "reason": result.reason} for result in decision.failures],
        "revision": revision,
        "at": subject.at.isoformat(),
        "what": subject.what,
        "warnings": subject.warnings,
    }


def with_tags(subject: Subject, tags: Mapping[str, Sequence[str]]) -> Subject:
    """Return the subject with some of its fields replaced; names are taken in any form in which rules take them."""
    if len(tags) > MAX_TAGS or any(len(values) > MAX_VALUES for values in tags.values()):
        message = f"at most {MAX_TAGS} tags with {MAX_VALUES} values each"
        raise InvalidError("The tags cannot be used", "Give fewer.", [FieldProblem("tags", message)])
    edited = {canonical_name(name): list(values) for name, values in tags.items()}
    return Subject({**subject.fields, **edited}, subject.at, subject.what, subject.warnings)


def parse_tags(text: str) -> dict[str, list[str]]:
    """Return tags written one a line as ``Keyword = value``, several values separated by a backslash."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, sign, value = line.partition("=")
        if not sign or not name.strip():
            raise InvalidError(problems=[FieldProblem("tags", f"line {number}: write Keyword = value", number, 1)])
        found[name.strip()] = [part.strip() for part in value.split("\\")] if value.strip() else []
    return found


def decode_file(text: str) -> bytes:
    """Return the bytes of a file that came as base64; raise :class:`InvalidError`."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_file("it is not base64") from error


def file_subject(head: bytes, truncated: bool, at: datetime, collected: Sequence[str] = DEFAULT_TAGS) -> Subject:
    """Return the tags of a DICOM file (PS3.10), or of its beginning; it has no sender, so no ``source.*``.

    ``collected`` names the tags that are read.
    """
    from hermes_common.dicom.header import extract_header  # with all of pydicom, which nothing else here needs

    try:
        part10 = parse_file_meta(head)
        selection = TagSelection.of(collected)
        header = extract_header(
            head[part10.offset :], part10.meta.transfer_syntax, truncated=truncated, selection=selection
        )
    except HeadTooShort as error:
        raise _bad_file(f"{error.reason}; send more of it") from error
    except DicomError as error:
        raise _bad_file(error.reason) from error
    return Subject(dict(header.tags), at, f"a file of series {header.series_uid}", list(header.warnings))


def _bad_file(reason: str) -> InvalidError:
    return InvalidError(
        "The file cannot be read as DICOM", "Send a DICOM file (PS3.10).", [FieldProblem("file", reason)]
    )
