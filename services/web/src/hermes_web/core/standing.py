"""How a rule set stands: which rules cannot be evaluated, and what their test cases come to; worked out once."""

from dataclasses import dataclass, field

from hermes_common.config import Revision, Rule, RuleSet
from hermes_common.rules.cases import CaseResult, run_cases
from hermes_web.core.configuration import expression_problems


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one rule set. ``cases`` by the slug of the rule; a rule without test cases is not in it."""

    cases: dict[str, list[CaseResult]]
    broken: frozenset[str]


def standing_of(rules: RuleSet) -> Standing:
    """Return how a rule set stands; a thousand rules take a second."""
    cases: dict[str, list[CaseResult]] = {}
    for result in run_cases(rules.rules):
        cases.setdefault(result.rule, []).append(result)
    return Standing(cases, frozenset(rule.slug for rule in rules.rules if expression_problems(rule, "expression")))


def own_cases(rules: RuleSet, rule: Rule) -> list[CaseResult]:
    """Return what the test cases of one rule come to with it in its place among the others."""
    if all(case.targets is None for case in rule.cases):
        return list(run_cases((rule,)))
    others = tuple(each if each.slug == rule.slug else each.model_copy(update={"cases": ()}) for each in rules.rules)
    return list(run_cases(others))


@dataclass(slots=True)
class Standings:
    """Remembers that of the last revision that was asked about."""

    _revision: tuple[int, str] | None = field(default=None)
    _found: Standing | None = field(default=None)

    def of(self, revision: Revision, rules: RuleSet) -> Standing:
        """Return how the rules of a revision stand."""
        name = (revision.revision, revision.time.isoformat())
        found = self._found
        if found is None or self._revision != name:
            found = standing_of(rules)
            self._revision, self._found = name, found
        return found
