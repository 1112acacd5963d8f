"""What differs between two rule sets."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from hermes_cli.errors import CliError
from hermes_common.config import RuleSet
from hermes_common.validation_words import plain_words


def changes_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return each change as ``what`` (added, removed, changed, moved), ``rule`` and ``detail``; empty if none.

    Raises :class:`CliError`, naming rule and field, when ``after`` is no rule set.
    """
    old, new = _rules(before), _rules(_validated(after))
    changes = [_change("removed", slug) for slug in old if slug not in new]
    for slug, rule in new.items():
        if slug not in old:
            changes.append(_change("added", slug, str(rule.get("expression", ""))))
            continue
        fields = [name for name in rule if rule[name] != old[slug].get(name)]
        if fields:
            changes.append(_change("changed", slug, ", ".join(fields)))
    kept_before = [slug for slug in old if slug in new]
    kept_after = [slug for slug in new if slug in old]
    moved = next((b for a, b in zip(kept_before, kept_after, strict=True) if a != b), None)
    return [*changes, *([_change("moved", moved, "the order of evaluation changes")] if moved is not None else [])]


def _change(what: str, rule: str, detail: str = "") -> dict[str, str]:
    return {"what": what, "rule": rule, "detail": detail}


def _rules(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rules by slug, defaults filled in where they are valid, so that leaving a default out is no change."""
    with suppress(ValidationError):  # made by a newer router: compared as it is
        document = RuleSet.model_validate(document).model_dump(mode="json")
    return {str(rule.get("slug", "")): dict(rule) for rule in document.get("rules") or []}


def _validated(document: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        RuleSet.model_validate(document)
    except ValidationError as error:
        lines = [_line(document, dict(problem)) for problem in error.errors(include_url=False)[:20]]
        raise CliError("this is not a valid rule set:\n" + "\n".join(lines)) from error
    return document


def _line(document: Mapping[str, Any], problem: Mapping[str, Any]) -> str:
    where = [str(part) for part in problem["loc"]]
    if len(where) > 1 and where[0] == "rules" and where[1].isdigit():
        rule = document["rules"][int(where[1])]
        slug = rule.get("slug") if isinstance(rule, dict) else None
        where = [f"rule {slug or 'number ' + str(int(where[1]) + 1)}", *where[2:]]
    return f"  {': '.join(where)}: {plain_words(problem['msg'])}"
