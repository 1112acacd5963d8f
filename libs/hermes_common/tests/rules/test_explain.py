"""Why a rule came to its answer."""

import json
from datetime import UTC, datetime

from hermes_common.rules import ClauseResult, Context, Explanation, Outcome, Span, Verdict, compile_rule

NOW = datetime(2026, 3, 14, 10, 30, tzinfo=UTC)


def explain(text: str, tags: dict, series: tuple = (), scope: str = "series") -> Explanation:
    context = Context(tags, series)
    rule = compile_rule(text, scope)
    explanation = rule.explain(context, NOW)
    assert explanation.verdict is rule.evaluate(context, NOW)
    assert Explanation.from_dict(json.loads(json.dumps(explanation.to_dict()))) == explanation
    return explanation


def test_every_clause_has_its_text_place_outcome_and_what_it_saw() -> None:
    text = 'Modality=="MR" and\n not Rows > 3 and PatientID is missing'
    found = explain(text, {"Modality": ["CT"], "Rows": ["4"]})
    assert found.verdict is Verdict.NO_MATCH
    assert found.clauses == (
        ClauseResult('Modality == "MR"', Span(0, 14, 1, 1), Outcome.FALSE, ("CT",)),
        ClauseResult("Rows > 3", Span(24, 32, 2, 6), Outcome.TRUE, ("4",)),
        ClauseResult("PatientID is missing", Span(37, 57, 2, 19), Outcome.TRUE, (), "PatientID is absent"),
    )
    assert [text[c.span.start : c.span.end] for c in found.clauses] == [
        'Modality=="MR"',
        "Rows > 3",
        "PatientID is missing",
    ]
    assert (found.unmet, found.total, found.near_miss) == (2, 3, False)


def test_an_unknown_clause_says_why() -> None:
    text = 'PatientID == "1" or StudyID == "2" or Rows == 3 or (0019,1010) < 4 or ProcedureCodeSequence is missing'
    tags = {"StudyID": [" "], "Rows": ["", "many"], "ProcedureCodeSequence.CodeValue": ["x"]}
    found = explain(text, tags)
    assert [clause.reason for clause in found.clauses] == [
        "PatientID is absent",
        "StudyID is empty",
        "Rows: 'many' is not a number",
        "(0019,1010) is absent",
        "ProcedureCodeSequence has items",
    ]
    assert found.clauses[2].seen == ("", "many")
    assert found.verdict is Verdict.UNKNOWN
    assert found.reason == "PatientID is absent; StudyID is empty; Rows: 'many' is not a number; (0019,1010) is absent"


def test_a_reason_goes_past_the_values_that_can_be_read() -> None:
    assert explain("Rows > 3", {"Rows": ["1", "x"]}).reason == "Rows: 'x' is not a number"
    assert explain("Rows is present", {"Rows": ["1"]}).clauses[0].reason == "Rows has a value"


def test_what_was_seen_is_bounded() -> None:
    found = explain('PatientID == "x"', {"PatientID": ["y" * 100, *"abcdefghijk"]})
    assert found.clauses[0].seen == ("y" * 63 + "…", *"abcdefg")
    assert explain('PatientID == "x"', {"PatientID": ["y" * 100]}).clauses[0].seen == ("y" * 63 + "…",)


def test_a_defect_is_an_error_of_its_clause_and_hides_no_other() -> None:
    rule = compile_rule('Rows == 1 and Modality == "MR"')
    found = rule.explain(Context({"Rows": [object()], "Modality": ["MR"]}), NOW)
    assert found.verdict is Verdict.ERROR
    assert [clause.outcome for clause in found.clauses] == [Outcome.ERROR, Outcome.TRUE]
    assert "AttributeError" in found.reason
    assert Explanation.from_dict(found.to_dict()) == found


def test_a_rule_that_misses_by_one_condition_is_a_near_miss() -> None:
    assert explain('Modality == "MR" and Rows == 1', {"Modality": ["MR"]}).near_miss
    assert not explain('Modality == "MR"', {"Modality": ["CT"]}).near_miss
    assert not explain('Modality == "MR" and Rows == 1', {"Modality": ["MR"], "Rows": ["1"]}).near_miss


def test_nested_connectives_are_explained_in_full() -> None:
    found = explain("(Rows == 1 and Rows == 2) or not (Rows == 3 or Rows == 4)", {"Rows": ["1"]})
    assert [clause.outcome.value for clause in found.clauses] == ["true", "false", "false", "false"]
    assert found.verdict is Verdict.MATCH
    assert found.reason == ""


def test_a_quantifier_explains_every_series() -> None:
    series = ({"Modality": ["MR"], "SeriesInstanceUID": ["1.2"]}, {"Modality": ["CT"]}, {})
    found = explain('any series (Modality == "MR" and Rows is missing)', {}, series, "study")
    (clause,) = found.clauses
    assert clause.outcome is Outcome.TRUE
    assert clause.reason == "true for 1 of 3 series, unknown for 1"
    assert [(part.index, part.uid, part.outcome.value) for part in clause.series] == [
        (0, "1.2", "true"),
        (1, "", "false"),
        (2, "", "unknown"),
    ]
    assert [inner.text for inner in clause.series[0].clauses] == ['Modality == "MR"', "Rows is missing"]
    assert explain("all series (Rows is missing)", {}, (), "study").reason == "true for 0 of 0 series"


def test_a_quantifier_over_many_series_counts_all_and_shows_some() -> None:
    (clause,) = explain("count series (Rows is missing) == 40", {}, ({},) * 40, "study").clauses
    assert clause.outcome is Outcome.TRUE
    assert (clause.reason, len(clause.series)) == ("true for 40 of 40 series", 32)


def test_a_defect_inside_a_quantifier_is_an_error() -> None:
    rule = compile_rule("any series (Rows == 1)", "study")
    found = rule.explain(Context({}, ({"Rows": [object()]},)), NOW)
    assert found.verdict is Verdict.ERROR
    assert rule.evaluate(Context({}, ({"Rows": [object()]},)), NOW) is Verdict.ERROR


def test_an_explanation_can_be_read_from_less_than_was_written() -> None:
    found = Explanation.from_dict({"verdict": "match", "clauses": [{"text": "A", "outcome": "true", "new": 1}]})
    assert found == Explanation(Verdict.MATCH, (ClauseResult("A", Span(), Outcome.TRUE),))
