"""Checking and testing rules: against edited tags, or the tags of a stored series."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from hermes_common.config import RuleSet
from hermes_common.ledger import series
from hermes_common.rules import CompiledRuleSet, Context, RuleError, SetDecision, check, decide, format_rule
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError

MAX_TAGS = 500
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def check_expression(expression: str, scope: str) -> dict[str, Any]:
    """Return whether an expression is a rule, its canonical form, and every problem with its place."""
    try:
        checked = check(expression, scope)
    except RuleError as error:
        return {
            "valid": False,
            "canonical": None,
            "problems": [item.to_dict() for item in error.problems],
            "warnings": [],
        }
    warnings = [item.to_dict() for item in checked.warnings]
    return {"valid": True, "canonical": format_rule(checked.ast), "problems": [], "warnings": warnings}


def rule_warnings(rules: RuleSet) -> list[dict[str, Any]]:
    """Return what is probably not meant in the expressions of a rule set, each with the rule it is about."""
    found: list[dict[str, Any]] = []
    for rule in rules.rules:
        if rule.expression.strip():
            warnings = check_expression(rule.expression, rule.scope)["warnings"]
            found += [{"rule": rule.slug, **warning} for warning in warnings]
    return found


def try_rules(rules: RuleSet, tags: Mapping[str, Sequence[str]], at: datetime) -> SetDecision:
    """Return what the rules say about a series with these tags, clause by clause."""
    if len(tags) > MAX_TAGS:
        raise InvalidError(problems=[FieldProblem("tags", f"at most {MAX_TAGS} tags")])
    return decide(CompiledRuleSet.compile(rules.rules, "series"), Context(tags), at)


def series_tags(connection: Connection, uid: str) -> dict[str, list[str]]:
    """Return the tags of a stored series with the facts about it; raise :class:`NotFoundError`."""
    row = connection.execute(select(series).where(series.c.series_uid == uid)).one_or_none()
    if row is None:
        raise NotFoundError(f"no series {uid[:64]} is in the history")
    study = connection.execute(
        select(func.count(), func.coalesce(func.sum(series.c.instances), 0)).where(series.c.study_uid == row.study_uid)
    ).one()
    facts = {
        "source.aet": row.calling_aet,
        "source.ip": row.address,
        "source.called_aet": row.called_aet,
        "series.instances": row.instances,
        "series.bytes": row.octets,
        "study.series": study[0],
        "study.instances": study[1],
        "received.hour": row.first_received_at.hour,
        "received.weekday": _WEEKDAYS[row.first_received_at.weekday()],
    }
    return {**row.tags, **{name: [str(value)] for name, value in facts.items()}}


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
