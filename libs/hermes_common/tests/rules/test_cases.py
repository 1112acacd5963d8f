"""Test cases of rules, and what differs between two rule sets."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from hermes_common.config import Rule, RuleCase, RuleSet
from hermes_common.rules.cases import run_cases
from hermes_common.rules.differences import differences


def rule(slug: str, expression: str, *cases: dict[str, Any], **more: Any) -> Rule:
    given = {"slug": slug, "name": slug, "expression": expression, "targets": ["pacs"], "cases": cases, **more}
    return Rule.model_validate(given)


def case(name: str, tags: dict[str, list[str]], **expected: Any) -> dict[str, Any]:
    return {"name": name, "tags": tags, **expected}


MR = {"Modality": ["MR"]}


def test_a_case_passes_when_the_verdict_and_the_targets_are_as_expected() -> None:
    first = rule("mr", 'Modality == "MR"', case("yes", MR, verdict="match", targets=["pacs"]))
    rest = rule("rest", "", case("no", MR, targets=["pacs"]), case("alone", {}, verdict="match"), fallback=True)
    results = run_cases([first, rest])
    assert [(result.rule, result.case, result.reason) for result in results] == [
        ("mr", "yes", ""),
        ("rest", "no", ""),
        ("rest", "alone", ""),
    ]
    assert all(result.passed and not result.forbids for result in results)


def test_a_failing_case_names_the_clause_and_what_it_saw_and_only_an_active_rule_is_forbidden() -> None:
    wanted = case("thin", {"Modality": ["CT"], "SliceThickness": ["1"]}, verdict="match", targets=["ai"])
    text = 'Modality == "MR" and SliceThickness <= 1.5'
    [result] = run_cases([rule("thin", text, wanted)])
    assert 'expected match, but it is no match: Modality == "MR" is false (saw CT)' in result.reason
    assert "expected to go to ai, but the rules send it to no target" in result.reason
    assert [clause.outcome.value for clause in result.clauses] == ["false", "true"]
    assert result.forbids
    said = result.to_dict()
    assert (said["rule"], said["case"], said["number"], said["passed"]) == ("thin", "thin", 0, False)
    assert said["clauses"][0]["seen"] == ["CT"]
    for state in ("draft", "dry_run", "paused"):
        [result] = run_cases([rule("thin", text, wanted, state=state)])
        assert not result.passed
        assert not result.forbids


def test_a_case_is_evaluated_at_its_time_and_without_one_always_at_the_same() -> None:
    text = "StudyDate within last 7 days"
    tags = {"StudyDate": ["20260309"]}
    at = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
    [timed, untimed] = run_cases(
        [rule("new", text, case("a", tags, at=at, verdict="match"), case("b", tags, verdict="match"))]
    )
    assert timed.passed
    assert "as of 2026-01-01" in untimed.reason


def test_a_case_with_a_field_that_does_not_exist_fails_and_numbers_are_names_too() -> None:
    [wrong] = run_cases([rule("a", 'Modality == "MR"', case("x", {"Modalty": ["MR"], **MR}, verdict="match"))])
    assert "there is no field Modalty" in wrong.reason
    [right] = run_cases([rule("a", 'Modality == "MR"', case("x", {"(0008,0060)": ["MR"]}, verdict="match"))])
    assert right.passed


def test_a_clause_on_a_tag_that_is_missing_says_so() -> None:
    [result] = run_cases([rule("a", "SliceThickness <= 1.5", case("x", {}, verdict="match"))])
    assert result.reason.endswith("SliceThickness <= 1.5 is unknown (SliceThickness is absent)")


def test_a_rule_that_is_no_rule_fails_its_cases() -> None:
    [result] = run_cases([rule("a", "Modality ==", case("x", MR, verdict="match"))])
    assert "cannot be used" in result.reason


def test_a_targets_case_of_a_set_looks_at_the_rules_before_it() -> None:
    stop = rule("stop", 'Modality == "MR"', targets=["archive"], then="stop")
    later = rule("mr", 'Modality == "MR"', case("x", MR, targets=["archive", "pacs"]))
    [result] = run_cases([stop, later])
    assert "the rules send it to archive (by stop)" in result.reason


@pytest.mark.parametrize(
    "wrong",
    [
        case("nothing expected", MR),
        case("one text", {"Modality": "MR"}, verdict="match"),  # type: ignore[dict-item]
        case("many", {"Modality": ["x"] * 33}, verdict="match"),
        case("long", {"Modality": ["x" * 1025]}, verdict="match"),
        case("error", MR, verdict="error"),
        case("naive", MR, verdict="match", at="2026-01-01T00:00:00"),
        case("", MR, verdict="match"),
    ],
)
def test_a_case_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RuleCase.model_validate(wrong)


def test_two_cases_of_one_name_and_too_many_are_refused() -> None:
    with pytest.raises(ValidationError, match="each test case needs a name of its own"):
        rule("a", 'Modality == "MR"', case("x", MR, verdict="match"), case("x", MR, verdict="match"))
    with pytest.raises(ValidationError, match="at most 50"):
        rule("a", 'Modality == "MR"', *(case(f"c{n}", MR, verdict="match") for n in range(51)))


def document(*rules: Rule) -> dict[str, Any]:
    return RuleSet(rules=rules).model_dump(mode="json")


def test_differences_are_told_by_rule_field_and_clause() -> None:
    before = document(
        rule("a", 'Modality == "MR" and SliceThickness <= 1.5'), rule("b", 'Modality == "CT"'), rule("c", "Rows > 1")
    )
    after = document(
        rule("c", "Rows > 1"),
        rule("a", 'Modality == "MR" and SliceThickness <= 3 and Rows > 1', priority="urgent"),
        rule("d", 'Modality == "US"'),
    )
    found = differences(before, after)
    assert [(each["what"], each["rule"]) for each in found] == [
        ("moved", "c"),
        ("changed", "a"),
        ("added", "d"),
        ("removed", "b"),
    ]
    fields = {field["field"]: field for field in found[1]["fields"]}
    assert set(fields) == {"expression", "priority"}
    assert fields["priority"]["before"] == "normal"
    assert fields["expression"]["clauses"] == [
        {"what": "removed", "clause": "SliceThickness <= 1.5"},
        {"what": "added", "clause": "SliceThickness <= 3"},
        {"what": "added", "clause": "Rows > 1"},
    ]
    assert differences(after, after) == []
    assert differences({}, after)[0]["what"] == "added"


def test_an_expression_that_is_no_rule_is_compared_as_text() -> None:
    before, after = document(rule("a", "Modality ==")), document(rule("a", "Rows > 1 or Columns > 1"))
    [field] = differences(before, after)[0]["fields"]
    assert [change["clause"] for change in field["clauses"]] == ["Modality ==", "Rows > 1 or Columns > 1"]
    [field] = differences(document(rule("a", "", fallback=True)), document(rule("a", "Rows > 1", fallback=True)))[0][
        "fields"
    ]
    assert field["clauses"] == [{"what": "added", "clause": "Rows > 1"}]
