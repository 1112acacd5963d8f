"""The rule form: to and from a rule."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from hermes_common.config import Action, AfterWait, Needs, Priority, Rule, RuleCase, RuleSet, RuleState, Scope, Then
from hermes_web.core.configuration import problems_of
from hermes_web.errors import FieldProblem, InvalidError, WebError
from hermes_web.features.rules.testing import parse_tags
from hermes_web.http.forms import Form

MOST_CASES = 50
DAYS = 30
MOST_DAYS = 3650
NOWHERE = "nowhere"
"""What is written for "no target at all"."""
CHOICES = {
    "state": [item.value for item in RuleState],
    "scope": [item.value for item in Scope],
    "priority": [item.value for item in Priority],
    "action": [item.value for item in Action],
    "then": [item.value for item in Then],
}
AFTER_WAIT = ["", *(item.value for item in AfterWait)]
HELP = {
    "state": "draft: not evaluated. dry run: evaluated and shown, nothing is sent. active: acts. paused: rests.",
    "scope": "What it is evaluated on.",
    "priority": "How soon deliveries are made.",
    "action": "discard sends nowhere; images stay for the retention of discarded series.",
    "then": "stop: the rules after this one are left out when it matches.",
}


def values_of(rule: Rule | None) -> dict[str, Any]:
    """Return the form's values for a rule, or for a new one."""
    if rule is None:
        new = {"slug": "", "name": "", "state": "active", "scope": "series", "expression": "", "targets": []}
        rest: dict[str, Any] = {
            "cases": [],
            "notifications": [],
            "priority": "normal",
            "fallback": False,
            "action": "route",
            "then": "continue",
            "contact": "",
            "comment": "",
            "needs": _needs_values(None),
        }
        return {**new, **rest}
    cases = [_case_values(case) for case in rule.cases]
    more = {"targets": list(rule.targets), "cases": cases, "needs": _needs_values(rule.needs)}
    return {**rule.model_dump(mode="json"), **more}


def _needs_values(needs: Needs | None) -> dict[str, str]:
    """Return what a rule needs as the texts of its fields."""
    found = {} if needs is None else needs.model_dump(mode="json")
    texts = {name: "" if found.get(name) is None else str(found[name]) for name in ("series", "max_wait", "then")}
    return {**texts, "required": "\n".join(found.get("required", ()))}


def _read_needs(values: dict[str, str]) -> dict[str, Any] | None:
    """Return what a rule needs; None if nothing was typed."""
    required = [line.strip() for line in values["required"].splitlines() if line.strip()]
    given = {name: values[name] for name in ("series", "max_wait", "then") if values[name]}
    return {**given, "required": required} if required or given else None


def _case_values(case: RuleCase) -> dict[str, str]:
    """Return a test case as the texts of its fields."""
    return {
        "name": case.name,
        "tags": tags_text(case.tags),
        "verdict": case.verdict or "",
        "targets": NOWHERE if case.targets == () else ", ".join(case.targets or ()),
        "at": "" if case.at is None else case.at.isoformat(),
    }


def tags_text(tags: Mapping[str, Sequence[str]]) -> str:
    """Return tags as they are typed: one a line, several values separated by a backslash."""
    return "\n".join(f"{name} = {chr(92).join(values)}" for name, values in tags.items())


def case_name(*parts: str) -> str:
    """Return the name of a test case that was made of a series."""
    return " ".join(" ".join(part.split()) for part in parts if part.strip())[:120] or "a series"


def days_of(form: Form) -> int:
    """Return for how many days a backtest is asked; raise :class:`InvalidError`."""
    days = form.number("days") if form.text("days") else DAYS
    if not 1 <= days <= MOST_DAYS:
        raise InvalidError(problems=[FieldProblem("days", f"between 1 and {MOST_DAYS} days")])
    return days


def _typed_cases(form: Form) -> list[dict[str, str]]:
    """Return the test cases as they were typed; without those that were emptied or ticked for removal."""
    found = []
    for number in range(MOST_CASES):
        case = {name: form.text(f"case-{number}-{name}") for name in ("name", "verdict", "targets", "at")}
        case["tags"] = form.lines(f"case-{number}-tags")
        if not form.checked(f"case-{number}-remove") and (case["name"] or case["tags"]):
            found.append(case)
    return found


def read_case(case: dict[str, str]) -> dict[str, Any]:
    """Return a test case as it was typed; raise :class:`InvalidError` for tags that are not one a line."""
    targets = [slug for slug in re.split(r"[\s,]+", case["targets"]) if slug]
    return {
        "name": case["name"],
        "tags": parse_tags(case["tags"]),
        "verdict": case["verdict"] or None,
        "targets": None if not targets else [] if targets == [NOWHERE] else targets,
        "at": case["at"] or None,
    }


def slug_of(name: str) -> str:
    """Return the short name that a name suggests."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].rstrip("-")


def typed_values(form: Form) -> dict[str, Any]:
    """Return the values as they were typed."""
    names = ("slug", "name", "state", "scope", "priority", "action", "then", "contact")
    return {
        **{name: form.text(name) for name in names},
        "slug": form.text("slug") or slug_of(form.text("name")),
        "expression": form.lines("expression"),
        "comment": form.lines("comment"),
        "targets": form.all("targets"),
        "cases": _typed_cases(form),
        "needs": {
            **{name: form.text(f"needs-{name}") for name in ("series", "max_wait", "then")},
            "required": form.lines("needs-required"),
        },
        "notifications": form.all("notifications"),
        "fallback": form.checked("fallback"),
    }


def hidden_fields(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields of a form that has these values, the state left out: a page that comes after carries them."""
    names = ("slug", "name", "scope", "priority", "action", "then", "contact", "expression", "comment")
    found = [(name, str(values[name])) for name in names]
    found += [("targets", slug) for slug in values["targets"]]
    found += [("notifications", each) for each in values["notifications"]]
    found += [("fallback", "yes")] if values["fallback"] else []
    for number, case in enumerate(values["cases"]):
        found += [(f"case-{number}-{name}", str(case[name])) for name in ("name", "verdict", "targets", "at", "tags")]
    found += [(f"needs-{name}", str(text)) for name, text in values["needs"].items() if text]
    return found


def parse_rule(values: dict[str, Any]) -> Rule:
    """Return the rule; raise :class:`InvalidError` that names the fields."""
    try:
        needs = _read_needs(values["needs"])
        return Rule.model_validate({**values, "cases": _read_cases(values["cases"]), "needs": needs})
    except ValidationError as error:
        problems = [_placed(item) for item in problems_of(error)]
        raise InvalidError(problems=problems) from error


def _read_cases(cases: list[dict[str, str]]) -> list[dict[str, Any]]:
    found = []
    for number, case in enumerate(cases):
        try:
            found.append(read_case(case))
        except InvalidError as error:
            name = case["name"] or f"number {number + 1}"
            problems = [FieldProblem(f"cases[{number}]", f"{name}: {item.message}") for item in error.problems]
            raise InvalidError(problems=problems) from error
    return found


def _placed(problem: FieldProblem) -> FieldProblem:
    """Put what pydantic says of the rule as a whole beside the field that it is about."""
    if problem.field != "document":
        return problem
    if "(needs)" in problem.message or ": needs:" in problem.message:
        return FieldProblem("needs", problem.message)
    return FieldProblem("expression" if "expression" in problem.message else "targets", problem.message)


def own_problems(error: WebError, rules: RuleSet, slug: str) -> dict[str, list[FieldProblem]]:
    """Return the problems by field of the form; those of other rules under ``form``."""
    place = next((index for index, rule in enumerate(rules.rules) if rule.slug == slug), -1)
    found: dict[str, list[FieldProblem]] = {}
    for problem in error.problems:
        field = problem.field.removeprefix(f"rules[{place}].").partition("[")[0].partition(".")[0]
        known = (
            field
            if field in {*CHOICES, "slug", "name", "expression", "targets", "contact", "comment", "cases", "needs"}
            else "form"
        )
        found.setdefault(known, []).append(problem)
    if not found:
        found["form"] = [FieldProblem("form", f"{error.detail}. {error.advice}")]
    return found


def marked(expression: str, problems: list[FieldProblem]) -> list[tuple[str, str, str]]:
    """Return for each problem with a place: the line, a caret under the column, and what is wrong."""
    lines = expression.splitlines() or [""]
    found = []
    for problem in problems:
        if problem.line is None or problem.column is None or problem.line > len(lines):
            continue
        wish = f" Did you mean {problem.suggestion}?" if problem.suggestion else ""
        place = f"Line {problem.line}, column {problem.column}: "
        found.append((lines[problem.line - 1], " " * (problem.column - 1) + "^", f"{place}{problem.message}.{wish}"))
    return found
