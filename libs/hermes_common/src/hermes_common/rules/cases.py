"""Test cases of rules: run a set of rules against the tags that were written down, and say why one fails."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from hermes_common.dicom.names import canonical_name
from hermes_common.rules.decision import RuleResult
from hermes_common.rules.dictionary import NoField, look_up
from hermes_common.rules.explanation import ClauseResult, Context, Verdict
from hermes_common.rules.ruleset import CompiledEntry, CompiledRuleSet, RuleLike, decide

CASE_TIME = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""When a case without a time of its own is evaluated: always the same, so that no case decays."""


class CaseLike(Protocol):
    """A test case of the configuration."""

    @property
    def name(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def at(self) -> datetime | None: ...
    @property
    def verdict(self) -> str | None: ...
    @property
    def targets(self) -> Sequence[str] | None: ...


class RuleWithCases(RuleLike, Protocol):
    """A rule with its test cases."""

    @property
    def cases(self) -> Sequence[CaseLike]: ...


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What a test case came to. ``reason`` is empty if it passed; ``clauses`` are those of its own rule."""

    rule: str
    case: str
    number: int
    state: str
    reason: str
    clauses: tuple[ClauseResult, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.reason

    @property
    def forbids(self) -> bool:
        """Whether the rule may not act: it is active and fails its own test."""
        return not self.passed and self.state == "active"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "rule": self.rule,
            "case": self.case,
            "number": self.number,
            "state": self.state,
            "passed": self.passed,
            "reason": self.reason,
            "clauses": [clause.to_dict() for clause in self.clauses],
        }


def run_cases(rules: Sequence[RuleWithCases]) -> tuple[CaseResult, ...]:
    """Return what every test case of every rule comes to, in their order."""
    sets = {scope: CompiledRuleSet.compile(rules, scope) for scope in {rule.scope for rule in rules if rule.cases}}
    found: list[CaseResult] = []
    for rule in rules:
        if rule.cases:
            entry = next(each for each in sets[rule.scope].entries if each.rule is rule)
            found += [_run(number, case, entry, sets[rule.scope]) for number, case in enumerate(rule.cases)]
    return tuple(found)


def _run(number: int, case: CaseLike, entry: CompiledEntry, whole: CompiledRuleSet) -> CaseResult:
    rule = entry.rule
    at = case.at or CASE_TIME
    context = Context({canonical_name(name): list(values) for name, values in case.tags.items()})
    reasons = [f"there is no field {name}" for name in case.tags if isinstance(look_up(canonical_name(name)), NoField)]
    clauses: tuple[ClauseResult, ...] = ()
    if entry.failure:
        reasons.append(entry.failure)
    else:
        explanation = None if entry.compiled is None else entry.compiled.explain(context, at)
        verdict = Verdict.MATCH if explanation is None else explanation.verdict
        clauses = () if explanation is None else explanation.clauses
        if case.verdict is not None and verdict.value != case.verdict:
            reasons.append(
                f"expected {_words(case.verdict)}, but it is {_words(verdict.value)}{_why(clauses, verdict)}"
            )
        if case.targets is not None:
            reasons += _wrong_targets(case, whole, context, at)
    if reasons and case.at is None and "within last" in rule.expression:
        reasons.append(f"it was evaluated as of {CASE_TIME:%Y-%m-%d %H:%M} UTC, because the case has no time (at)")
    return CaseResult(rule.slug, case.name, number, str(rule.state), "; ".join(reasons), clauses)


def _wrong_targets(case: CaseLike, whole: CompiledRuleSet, context: Context, at: datetime) -> list[str]:
    said = decide(whole, context, at, explain=False)
    expected, planned = set(case.targets or ()), {target.target for target in said.targets}
    if expected == planned:
        return []
    by = _fired(said.fired)
    return [f"expected to go to {_listed(expected)}, but the rules send it to {_listed(planned)}{by}"]


def _fired(results: Iterable[RuleResult]) -> str:
    names = [result.slug for result in results]
    return f" (by {', '.join(names)})" if names else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "no target"


def _why(clauses: Sequence[ClauseResult], verdict: Verdict) -> str:
    """Return the clauses that made it so."""
    telling = [c for c in clauses if (c.outcome.value == "true") is (verdict is Verdict.MATCH)]
    parts = [f"{c.text} is {c.outcome.value}{_saw(c)}" for c in telling[:3]]
    return f": {', '.join(parts)}" if parts else ""


def _saw(clause: ClauseResult) -> str:
    if clause.seen:
        return f" (saw {' / '.join(clause.seen[:3])})"
    return f" ({clause.reason})" if clause.reason else ""


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")
