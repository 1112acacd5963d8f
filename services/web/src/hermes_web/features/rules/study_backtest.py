"""Rules about studies against the studies of the history: what each matches, gains and loses."""

from collections.abc import Iterable, Sequence
from typing import Any

from hermes_common.config import Rule
from hermes_common.rules import CompiledRule, RuleError, Verdict, compile_rule
from hermes_web.features.rules.stored import StoredStudy
from hermes_web.features.rules.trying import context_of

MOST = 1000
"""Studies that are looked at, the newest."""
SAMPLES = 6
_KINDS = ("matched", "gained", "lost", "unknown", "errors")


def has_studies(rules: Iterable[Rule]) -> bool:
    """Return whether any rule is about studies."""
    return any(rule.scope.value == "study" for rule in rules)


def compare_on_studies(
    draft: Sequence[Rule], active: Sequence[Rule], studies: Sequence[StoredStudy]
) -> list[dict[str, Any]]:
    """Return for each rule about studies how many its condition is true for now and before, with some of them.

    ``studies`` has the newest first. A rule that is gone, or that is not about studies any more, is left out.
    """
    old = {rule.slug: rule for rule in active if rule.scope.value == "study"}
    return [_one(rule, old.get(rule.slug), studies) for rule in draft if rule.scope.value == "study"]


def _one(rule: Rule, before: Rule | None, studies: Sequence[StoredStudy]) -> dict[str, Any]:
    found: dict[str, list[StoredStudy]] = {kind: [] for kind in _KINDS}
    now, then = _compiled(rule), None if before is None else _compiled(before)
    was_matched = 0
    for study in studies:
        verdict = _verdict(rule, now, study)
        was = before is not None and _verdict(before, then, study) is Verdict.MATCH
        is_now = verdict is Verdict.MATCH
        was_matched += was
        if is_now:
            found["matched"].append(study)
        if is_now is not was:
            found["gained" if is_now else "lost"].append(study)
        if verdict is Verdict.UNKNOWN:
            found["unknown"].append(study)
        if verdict is Verdict.ERROR:
            found["errors"].append(study)
    change = "new" if before is None else "same" if before == rule else "changed"
    return {
        "slug": rule.slug,
        "name": rule.name,
        "state": rule.state.value,
        "change": change,
        "before": was_matched,
        **{kind: len(studies) for kind, studies in found.items()},
        "samples": {kind: [study.to_dict() for study in studies[:SAMPLES]] for kind, studies in found.items()},
    }


def _compiled(rule: Rule) -> CompiledRule | None:
    try:
        return compile_rule(rule.expression, "study") if rule.expression.strip() else None
    except RuleError:
        return None


def _verdict(rule: Rule, compiled: CompiledRule | None, study: StoredStudy) -> Verdict:
    if compiled is None:
        return Verdict.ERROR if rule.expression.strip() else Verdict.MATCH
    return compiled.evaluate(context_of(study), study.at)
