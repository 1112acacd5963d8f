"""An ordered set of rules to a plan."""

import json
from datetime import UTC, datetime

import pytest

from hermes_common.rules import CompiledRuleSet, Context, RuleEntry, SetDecision, Status, Verdict, decide

NOW = datetime(2026, 3, 14, 10, 30, tzinfo=UTC)
YES, NO, DUNNO, BROKEN = 'Modality == "MR"', 'Modality == "CT"', 'PatientID == "1"', "Rows == 1"
CONTEXT = Context({"Modality": ["MR"], "Rows": [object()]})  # type: ignore[list-item]


def rule(slug: str, expression: str = YES, targets: tuple[str, ...] = ("pacs",), **more) -> RuleEntry:
    if more.get("action") == "discard":
        targets = ()
    return RuleEntry(slug, slug.upper(), expression, targets, **more)


def run(*rules: RuleEntry) -> SetDecision:
    decision = decide(CompiledRuleSet.compile(rules), CONTEXT, NOW)
    short = decide(CompiledRuleSet.compile(rules), CONTEXT, NOW, explain=False)
    assert [(r.slug, r.status, r.verdict) for r in short.results] == [
        (r.slug, r.status, r.verdict) for r in decision.results
    ]
    assert (short.outcome, short.targets) == (decision.outcome, decision.targets)
    assert all(result.explanation is None for result in short.results)
    assert SetDecision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    return decision


def statuses(decision: SetDecision) -> dict[str, str]:
    return {result.slug: result.status.value for result in decision.results}


DISCARD = {"action": "discard"}
FALLBACK = {"fallback": True}
DRY = {"state": "dry_run"}
STOP = {"then": "stop"}

CASES = {
    "no rules": ([], "unmatched", {}),
    "a match routes": ([rule("a")], "routed", {"a": "fired"}),
    "no match": ([rule("a", NO), rule("b", DUNNO)], "unmatched", {"a": "not_matched", "b": "unknown"}),
    "off": (
        [rule("a", state="draft"), rule("b", state="paused"), rule("c", "nonsense", state="draft")],
        "unmatched",
        {"a": "off", "b": "off", "c": "off"},
    ),
    "a failure hides no other rule": (
        [rule("a", BROKEN), rule("b", "nonsense"), rule("c")],
        "routed",
        {"a": "failed", "b": "failed", "c": "fired"},
    ),
    "stop": ([rule("a", **STOP), rule("b")], "routed", {"a": "fired", "b": "not_reached"}),
    "stop only if it fires": ([rule("a", NO, **STOP), rule("b")], "routed", {"a": "not_matched", "b": "fired"}),
    "a dry run changes nothing": ([rule("a", **DRY)], "unmatched", {"a": "would_fire"}),
    "a dry run does not stop": (
        [rule("a", **DRY, **STOP), rule("b")],
        "routed",
        {"a": "would_fire", "b": "fired"},
    ),
    "discard": ([rule("a", **DISCARD)], "discarded", {"a": "fired"}),
    "routing overrules discarding": (
        [rule("a", **DISCARD), rule("b"), rule("c", **DISCARD, **DRY), rule("d", NO, **DISCARD)],
        "routed",
        {"a": "overruled", "b": "fired", "c": "overruled", "d": "not_matched"},
    ),
    "a discard that stops keeps later rules from routing": (
        [rule("a", **DISCARD, **STOP), rule("b")],
        "discarded",
        {"a": "fired", "b": "not_reached"},
    ),
    "a failure keeps a discard from taking effect": (
        [rule("a", **DISCARD), rule("b", BROKEN)],
        "unmatched",
        {"a": "overruled", "b": "failed"},
    ),
    "a dry run that fails does not": (
        [rule("a", **DISCARD), rule("b", BROKEN, **DRY)],
        "discarded",
        {"a": "fired", "b": "failed"},
    ),
    "fallback": ([rule("f", **FALLBACK), rule("a", NO)], "routed", {"f": "fired", "a": "not_matched"}),
    "fallback without an expression": ([rule("f", " ", **FALLBACK)], "routed", {"f": "fired"}),
    "fallback held back": (
        [rule("f", "", **FALLBACK), rule("g", NO, **FALLBACK), rule("a")],
        "routed",
        {"f": "held_back", "g": "not_matched", "a": "fired"},
    ),
    "a dry run does not hold a fallback back": (
        [rule("a", **DRY), rule("f", **FALLBACK)],
        "routed",
        {"a": "would_fire", "f": "fired"},
    ),
    "a failure does not hold a fallback back": (
        [rule("a", BROKEN), rule("f", **FALLBACK)],
        "routed",
        {"a": "failed", "f": "fired"},
    ),
    "a discard holds a fallback back": (
        [rule("a", **DISCARD, **STOP), rule("f", **FALLBACK)],
        "discarded",
        {"a": "fired", "f": "held_back"},
    ),
    "several fallbacks in order": (
        [rule("f", **FALLBACK), rule("g", **FALLBACK, **STOP), rule("h", **FALLBACK)],
        "routed",
        {"f": "fired", "g": "fired", "h": "not_reached"},
    ),
    "a dry-run fallback": ([rule("f", "", **FALLBACK, **DRY)], "unmatched", {"f": "would_fire"}),
    "mistakes of other kinds": (
        [
            rule("a", targets=()),
            rule("b", action="burn"),
            rule("c", state="odd"),
            rule("d", then="go"),
            rule("e", priority="x"),
            rule("g", ""),
        ],
        "unmatched",
        dict.fromkeys("abcdeg", "failed"),
    ),
}


@pytest.mark.parametrize(("rules", "outcome", "expected"), CASES.values(), ids=CASES)
def test_a_set_decides_as_the_table_says(rules: list[RuleEntry], outcome: str, expected: dict[str, str]) -> None:
    decision = run(*rules)
    assert decision.outcome == outcome
    assert statuses(decision) == expected
    assert bool(decision.targets) is (outcome == "routed")


def test_a_target_is_planned_once_with_the_most_urgent_priority_and_all_who_asked() -> None:
    decision = run(
        rule("a", targets=("pacs", "ai", "pacs"), priority="off_peak"),
        rule("b", targets=("pacs",), priority="urgent"),
        rule("c", targets=("pacs", "archive")),
        rule("d", targets=("never",), state="dry_run"),
    )
    assert [target.to_dict() for target in decision.targets] == [
        {"target": "pacs", "priority": "urgent", "rules": ["a", "b", "c"]},
        {"target": "ai", "priority": "off_peak", "rules": ["a"]},
        {"target": "archive", "priority": "normal", "rules": ["c"]},
    ]


def test_unmatched_and_could_not_be_evaluated_are_told_apart() -> None:
    assert not run(rule("a", NO)).undecided
    failed = run(rule("a", BROKEN), rule("b", "nonsense"), rule("c", BROKEN, state="dry_run"))
    assert failed.undecided
    assert [result.slug for result in failed.failures] == ["a", "b"]
    assert "AttributeError" in failed.failures[0].reason
    assert "line 1, column 9" in failed.failures[1].reason
    assert not run(rule("a", BROKEN), rule("b")).undecided


def test_every_result_says_why() -> None:
    decision = run(
        rule("draft", state="draft"),
        rule("unknown", DUNNO),
        rule("dry", state="dry_run"),
        rule("stop", then="stop"),
        rule("late"),
        rule("fallback", "", fallback=True),
    )
    assert [result.reason for result in decision.results] == [
        "the rule is draft",
        "PatientID is absent",
        "the rule is a dry run",
        "",
        "rule stop matched and stops",
        "rule stop matched",
    ]
    assert [result.slug for result in decision.fired] == ["stop"]
    assert [result.slug for result in decision.dry_runs] == ["dry"]
    assert decision.results[3].explanation is not None
    assert decision.results[3].verdict is Verdict.MATCH
    assert decision.results[4].verdict is None
    assert decision.results[4].status is Status.NOT_REACHED


def test_a_set_is_compiled_for_one_scope() -> None:
    rules = [rule("a"), rule("b", "any series (Modality is present)", scope="study"), rule("c", "nonsense")]
    assert [entry.rule.slug for entry in CompiledRuleSet.compile(rules).entries] == ["a", "c"]
    assert [entry.rule.slug for entry in CompiledRuleSet.compile(rules).failures] == ["c"]
    study = CompiledRuleSet.compile(rules, "study")
    assert statuses(decide(study, Context({}, [{"Modality": ["MR"]}]), NOW)) == {"b": "fired"}


def test_the_rules_of_the_configuration_are_accepted_as_they_are() -> None:
    config = pytest.importorskip("hermes_common.config")
    configured = config.Rule(slug="a", name="A", expression=YES, targets=("pacs",), priority="urgent")
    decision = decide(CompiledRuleSet.compile([configured]), CONTEXT, NOW)
    assert decision.outcome == "routed"
    assert json.loads(json.dumps(decision.to_dict()))["results"][0]["state"] == "active"
    assert decision.targets[0].priority == "urgent"


def test_results_without_explanation_are_the_same_for_every_series_and_as_with_one() -> None:
    rules = CompiledRuleSet.compile(
        [RuleEntry("a", "A", 'Modality == "MR"', ("x",)), RuleEntry("b", "B", 'Modality == "CT"', ("y",))]
    )
    said = [
        decide(rules, Context({"Modality": [modality]}), NOW, explain=False) for modality in ("MR", "CT", "MR", "US")
    ]
    assert [decision.outcome for decision in said] == ["routed", "routed", "routed", "unmatched"]
    assert said[0] == said[2] != said[1]
    explained = decide(rules, Context({"Modality": ["MR"]}), NOW)
    assert [result.status for result in explained.results] == [result.status for result in said[0].results]
    assert explained.targets == said[2].targets
