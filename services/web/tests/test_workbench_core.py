"""The pure parts of the workbench: merging two changes, conditions from a series, places of rules, trying a draft."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_common.config import Rule, RuleSet
from hermes_common.rules import Context, Verdict, compile_rule
from hermes_web.core.configuration import placed_rule
from hermes_web.core.merging import Both, merge
from hermes_web.core.suggesting import case_tags, suggestions
from hermes_web.core.view import View
from hermes_web.features.rules import forms
from hermes_web.features.rules.review import shadows
from hermes_web.features.rules.stored import StoredSeries
from hermes_web.features.rules.study_backtest import compare_on_studies
from hermes_web.features.rules.trying import try_draft

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_only_one_of_two_changed_is_taken_and_what_both_changed_is_mine_unless_theirs_is_asked_for() -> None:
    before, theirs = {"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 2, "b": 1, "c": 2, "d": 2}
    mine = {"a": 1, "b": 3, "c": 3, "d": 2}
    found = merge(before, theirs, mine)
    assert found.fields == {"a": 2, "b": 3, "c": 3, "d": 2}
    assert (found.taken, found.both) == (("a",), (Both("c", 1, 2, 3),))
    assert merge(before, theirs, mine, ["c"]).fields["c"] == 2


values = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2))


@given(values, values, values)
def test_no_change_of_mine_is_lost_and_none_of_theirs_unsaid(before: Any, theirs: Any, mine: Any) -> None:
    found = merge(before, theirs, mine)
    told = {*found.taken, *(item.field for item in found.both)}
    for name in {*theirs, *mine}:
        if mine.get(name) != before.get(name):
            assert found.fields[name] == mine.get(name)
        if theirs.get(name) not in (before.get(name), mine.get(name)):
            assert name in told


@given(
    st.dictionaries(
        st.sampled_from(["Modality", "StudyDescription", "SliceThickness", "ImageType"]), st.lists(st.text())
    )
)
def test_every_condition_that_is_offered_is_a_rule_that_is_true_of_the_series(fields: dict[str, list[str]]) -> None:
    for each in suggestions(fields):
        assert compile_rule(each.text).evaluate(Context(fields), AT) is Verdict.MATCH, each.text


def test_a_test_case_of_a_series_has_what_the_rule_asks_about_and_no_patient() -> None:
    fields = {"Modality": ["MR"], "KVP": ["1"], "PatientName": ["A^B"], "Rows": ["5"]}
    assert case_tags(fields, ["KVP", "PatientName"]) == {"KVP": ["1"], "Modality": ["MR"]}


@given(st.integers(-3, 9), st.integers(0, 3))
def test_a_rule_is_put_at_its_place_and_the_others_keep_their_order(place: int, which: int) -> None:
    rules = RuleSet(rules=tuple(a_rule(name) for name in "abcd"))
    slug = "abcd"[which]
    found = [rule.slug for rule in placed_rule(rules, slug, place).rules]
    assert found.index(slug) == min(max(place - 1, 0), 3)
    assert [name for name in found if name != slug] == [name for name in "abcd" if name != slug]


def a_rule(slug: str, expression: str = 'Modality == "MR"', **more: Any) -> Rule:
    return Rule.model_validate({"slug": slug, "name": slug, "expression": expression, "targets": ["t"], **more})


def stored(uid: str, **fields: list[str]) -> StoredSeries:
    return StoredSeries(uid, "1.2", "routed", "MR", uid, "AET", fields, AT, AT, 3)


def test_a_draft_says_for_how_many_each_clause_is_true_and_shows_those_first_that_fail_in_one() -> None:
    recent = [
        stored("1", Modality=["CT"], KVP=["1"]),
        stored("2", Modality=["MR"]),
        stored("3", Modality=["MR"], KVP=["2"]),
    ]
    found = try_draft('Modality == "MR" and KVP == 2', "series", recent, None, View())
    assert (found["looked_at"], found["match"], found["no_match"], found["unknown"]) == (3, 1, 1, 1)
    assert [(clause["true"], clause["unknown"]) for clause in found["clauses"]] == [(2, 0), (1, 1)]
    assert [item["series_uid"] for item in found["others"]] == ["2", "1"]
    assert found["matching"][0]["clauses"][0]["seen"] == ["MR"]
    assert try_draft("Modality =", "series", recent, None, View()) == {}
    assert try_draft("", "series", recent, recent[0], View())["chosen"]["verdict"] == "match"


def test_what_a_clause_about_a_patient_saw_is_masked_and_nothing_else() -> None:
    recent = [stored("1", Modality=["MR"], PatientName=["DOE^JANE"])]
    rule = 'PatientName contains "DOE" and Modality == "MR"'
    clauses = try_draft(rule, "series", recent, None, View(names="masked"))["matching"][0]["clauses"]
    assert [clause["outcome"] for clause in clauses] == ["true", "true"]
    assert "DOE^JANE" not in str(clauses)
    assert clauses[1]["seen"] == ["MR"]


@pytest.mark.parametrize(
    ("first", "warned"),
    [
        (a_rule("first", then="stop"), True),
        (a_rule("first"), False),
        (a_rule("first", then="stop", state="draft"), False),
        (a_rule("first", 'Modality == "CT"', then="stop"), False),
        (a_rule("first", "Modality ==", then="stop"), False),
    ],
)
def test_a_rule_is_shadowed_by_one_before_it_that_stops_at_all_that_it_matches(first: Rule, warned: bool) -> None:
    second = a_rule("second", 'Modality == "MR" and KVP == 2')
    rules = RuleSet(rules=(first, second))
    found = shadows(rules, second, [stored("1", Modality=["MR"], KVP=["2"]), stored("2", Modality=["CT"])])
    assert bool(found) is warned
    assert shadows(rules, second, []) == []
    assert shadows(RuleSet(rules=(second, first)), second, [stored("1", Modality=["MR"], KVP=["2"])]) == []


def test_rules_about_studies_are_compared_on_studies_alone() -> None:
    draft = a_rule("s", "study.series >= 9", scope="study")
    assert compare_on_studies([draft, a_rule("other")], [], []) == [
        {
            "slug": "s",
            "name": "s",
            "state": "active",
            "change": "new",
            "before": 0,
            **dict.fromkeys(("matched", "gained", "lost", "unknown", "errors"), 0),
            "samples": {kind: [] for kind in ("matched", "gained", "lost", "unknown", "errors")},
        }
    ]


def test_the_page_that_comes_after_carries_every_field_of_a_rule() -> None:
    needs = {"required": ['Modality == "PT"', 'Modality == "CT"'], "series": 3, "max_wait": "2h", "then": "hold"}
    rule = a_rule("petct", "study.series > 1", scope="study", needs=needs, notifications=["matched"])
    sent: dict[str, str] = dict(forms.hidden_fields(forms.values_of(rule)))
    assert sent["needs-required"].splitlines() == needs["required"]
    assert (sent["needs-series"], sent["needs-max_wait"], sent["needs-then"]) == ("3", "2h", "hold")
