"""Rules about series and about studies as one ordered set."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hermes_common.rules import (
    CompiledRuleSet,
    Context,
    Earlier,
    Known,
    RuleEntry,
    SetDecision,
    decide_in_study,
    decide_series,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CT = Context({"Modality": ["CT"]})
STUDY = Context({"Modality": ["CT", "MR"], "study.series": ["2"]}, [{"Modality": ["CT"]}, {"Modality": ["MR"]}])


def series(slug: str, expression: str = 'Modality == "CT"', *targets: str, **more: Any) -> RuleEntry:
    return RuleEntry(slug, slug, expression, targets, **more)


def study(slug: str, expression: str = "study.series == 2", *targets: str, **more: Any) -> RuleEntry:
    return RuleEntry(slug, slug, expression, targets, scope="study", **more)


def first(*rules: RuleEntry) -> SetDecision:
    return decide_series(CompiledRuleSet.compile_all(rules), CT, NOW)


def then(*rules: RuleEntry, earlier: Earlier | None = None) -> SetDecision:
    return decide_in_study(CompiledRuleSet.compile_all(rules), CT, STUDY, NOW, earlier=earlier)


def statuses(decision: SetDecision) -> dict[str, str]:
    return {result.slug: result.status.value for result in decision.results}


NOT = 'Modality == "MR"'
ALL = study("all", "study.series == 2", "b")


@pytest.mark.parametrize(
    ("rules", "outcome"),
    [
        ([series("ct", NOT, "a"), ALL], "deferred"),
        ([series("ct", 'Modality == "CT"', "a"), ALL], "routed"),
        ([series("x", action="discard"), ALL], "deferred"),
        ([series("x", action="discard", then="stop"), ALL], "discarded"),
        ([ALL, series("x", action="discard", then="stop")], "deferred"),
        ([series("rest", "", "a", fallback=True), ALL], "deferred"),
        ([series("rest", "", "a", fallback=True), study("off", "study.series == 2", "b", state="paused")], "routed"),
        ([series("ct", NOT, "a"), study("dry", "study.series == 2", "b", state="dry_run")], "unmatched"),
        ([series("ct", NOT, "a")], "unmatched"),
        ([ALL], "deferred"),
    ],
)
def test_what_no_rule_about_series_routes_is_deferred_if_a_rule_about_studies_is_reached(
    rules: list[RuleEntry], outcome: str
) -> None:
    decision = first(*rules)
    assert decision.outcome == outcome
    assert all(result.slug not in {"all", "off", "dry"} for result in decision.results)
    if outcome == "deferred":
        assert decision.targets == ()
        assert not decision.fired


def test_in_its_study_a_series_is_decided_by_the_rules_of_both_scopes_in_one_order() -> None:
    rest = series("rest", "", "c", fallback=True)
    assert statuses(then(series("mr", NOT, "a"), ALL, rest)) == {
        "mr": "not_matched",
        "all": "fired",
        "rest": "held_back",
    }
    nothing = study("three", "study.series == 3", "b")
    assert [target.target for target in then(nothing, rest).targets] == ["c"]
    stops = study("stops", "study.series == 2", "b", then="stop")
    after = study("after", "study.series == 2", "c")
    assert statuses(then(stops, after)) == {"stops": "fired", "after": "not_reached"}


def test_priorities_and_targets_of_both_scopes_are_joined() -> None:
    slow = series("slow", 'Modality == "CT"', "a", priority="off_peak")
    fast = study("fast", "study.series == 2", "a", "b", priority="urgent")
    plan = then(slow, fast)
    assert [(target.target, target.priority, target.rules) for target in plan.targets] == [
        ("a", "urgent", ("slow", "fast")),
        ("b", "urgent", ("fast",)),
    ]


def test_after_the_rules_about_series_had_their_say_only_those_about_studies_are_asked() -> None:
    rules = (
        study("before", "study.series == 2", "b"),
        series("ct", 'Modality == "CT"', "a", then="stop"),
        study("after", "study.series == 2", "c"),
        study("rest", "", "d", fallback=True),
        study("none", "study.series == 2", action="discard"),
    )
    stopped = then(*rules, earlier=Earlier("ct", "ct"))
    assert statuses(stopped) == {
        "before": "fired",
        "after": "not_reached",
        "rest": "held_back",
        "none": "not_reached",
    }
    went_on = then(*rules, earlier=Earlier("ct"))
    assert statuses(went_on) == {"before": "fired", "after": "fired", "rest": "held_back", "none": "overruled"}
    gone = then(*rules, earlier=Earlier("ct", "a-rule-that-was-removed"))
    assert statuses(gone)["after"] == "fired"


def test_a_rule_that_fails_in_either_scope_keeps_a_series_from_being_discarded() -> None:
    broken = study("broken", "study.series ===", "a")
    decision = then(series("x", action="discard"), broken)
    assert (decision.outcome, statuses(decision)["x"]) == ("unmatched", "overruled")


def test_a_rule_about_studies_is_evaluated_once_for_all_series_of_a_study() -> None:
    compiled = CompiledRuleSet.compile_all([ALL])
    known: Known = {}
    one = decide_in_study(compiled, CT, STUDY, NOW, known=known)
    two = decide_in_study(compiled, Context({"Modality": ["MR"]}), STUDY, NOW, known=known)
    assert list(known) == ["all"]
    assert one.results[0].explanation is two.results[0].explanation


def test_a_decision_with_the_rule_that_stopped_reads_back() -> None:
    decision = first(series("ct", 'Modality == "CT"', "a", then="stop"), ALL)
    assert decision.stopped_by == "ct"
    assert SetDecision.from_dict(decision.to_dict()) == decision


def test_what_rules_about_series_discarded_is_sent_if_a_rule_about_its_study_routes() -> None:
    decision = then(series("x", action="discard"), ALL, earlier=Earlier())
    assert (decision.outcome, [planned.target for planned in decision.targets]) == ("routed", ["b"])
    discarded = then(study("drop", "study.series == 2", action="discard"), earlier=Earlier())
    assert (discarded.outcome, statuses(discarded)) == ("discarded", {"drop": "fired"})


def test_the_rules_of_one_scope_can_be_taken_out_of_a_set() -> None:
    both = CompiledRuleSet.compile_all([series("ct", NOT, "a"), ALL])
    assert [[entry.rule.slug for entry in both.about(scope).entries] for scope in ("series", "study")] == [
        ["ct"],
        ["all"],
    ]
