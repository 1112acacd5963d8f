"""What makes sense, what does not, and what is doubtful."""

import pytest

from hermes_common.dicom.names import canonical_name
from hermes_common.rules import Kind, RuleSyntaxError, RuleTypeError, check, fields
from hermes_common.rules.dictionary import FACTS, OPERATORS, NoField, look_up, suggest
from hermes_common.rules.parser import parse
from hermes_common.rules.tree import Field, Matches, Not, Presence, Rule


@pytest.mark.parametrize(
    ("text", "scope", "words", "suggestion"),
    [
        ('SeriesDescripton == "x"', "series", "there is no field SeriesDescripton", "SeriesDescription"),
        ('modality == "x"', "series", "no field modality", "Modality"),
        ('source.aett == "x"', "series", "no fact or field source.aett", "source.aet"),
        ('Qqqqqqqqq == "x"', "series", "no field", None),
        (f'{"X" * 90} == "x"', "series", "…", None),
        ('Modality.CodeValue == "x"', "series", "not a sequence", None),
        ('ProcedureCodSequence.CodeValue == "x"', "series", "no field", "ProcedureCodeSequence.CodeValue"),
        ('ProcedureCodeSequence.CodeValu == "x"', "series", "no field CodeValu", "ProcedureCodeSequence.CodeValue"),
        ("A.B.C.D.E.F.G.H.I is present", "series", "too long", None),
        ("(0008,9999) is present", "series", "not in the DICOM dictionary", None),
        ("study.series > 1", "series", "in study rules only", None),
        ("series.instances > 1", "study", "inside any, all or count", None),
        ("any series (study.series > 1)", "study", "outside the parentheses", None),
        ('any series (Modality == "MR")', "series", "in study rules only", None),
        ("all series (any series (Modality is present))", "study", "inside another", None),
        ("Modality == 3", "series", "is text (CS), and 3 without quotes is a number", '"3"'),
        ('SliceThickness <= "1.5"', "series", "is number (DS)", "1.5"),
        ('SliceThickness <= "thin"', "series", "is number (DS)", None),
        ('SliceThickness <= ""', "series", "is number (DS)", None),
        ('series.instances == "x"', "series", "is number, and", None),
        ('Modality < "MR"', "series", "< does not go with Modality, which is text (CS)", None),
        ("SliceThickness matches /1/", "series", "does not go", None),
        ("SliceThickness within last 3 days", "series", "does not go", None),
        ("StudyTime within last 3 minutes", "series", "does not go", None),
        ("StudyDate within last 3 hours", "series", "no time of day", None),
        ('StudyDate == "yesterday"', "series", "'yesterday' is not a date", None),
        ('StudyDate == "2026-02-30"', "series", "not a date", None),
        ("StudyDate == 20260131", "series", "without quotes is a number", '"20260131"'),
        ('StudyDate == ""', "series", "blank", None),
        ('StudyTime == "25:00"', "series", "not a time", None),
        ('AcquisitionDateTime < "2026"', "series", "not a date and time", None),
        ('AcquisitionDateTime < "2026-01-31 08:00+01:00"', "series", "without an offset", None),
        ('AcquisitionDateTime < "20260131-0100"', "series", "without an offset", None),
        ('PatientAge > "old"', "series", "not an age", None),
        ('received.weekday == "someday"', "series", "not a day", None),
        ("received.weekday == 8", "series", "not a day", None),
        ('ProcedureCodeSequence == "x"', "series", "sequence (SQ)", None),
        ('PixelData == "x"', "series", "binary", None),
        ('(0019,100C) < "x"', "series", "only be ordered as numbers", None),
        ('(0019,100C) < "7"', "series", "only be ordered as numbers", "7"),
        ("(0019,100C) contains 7", "series", "needs a text", '"7"'),
        ('(0019,100C) in ["x", 7]', "series", "mixed", None),
        ("Modality matches /(/", "series", "RE2", None),
        ("Modality matches //", "series", "empty", None),
        ("Modality matches /((x{500}){500}){500}/", "series", "RE2", None),
        (r"Modality matches /(a)\1/", "series", "RE2", None),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, scope: str, words: str, suggestion: str | None) -> None:
    with pytest.raises(RuleTypeError) as caught:
        check(text, scope)
    problem = caught.value.problems[0]
    assert words in problem.message
    assert problem.suggestion == suggestion
    assert problem.span.end > problem.span.start


def test_every_problem_is_reported_up_to_twenty_and_the_first_two_get_a_suggestion() -> None:
    with pytest.raises(RuleTypeError) as caught:
        check(" and ".join(['Modalit == "x"'] * 30))
    assert len(caught.value.problems) == 20
    assert [p.suggestion for p in caught.value.problems[:3]] == ["Modality", "Modality", None]


@pytest.mark.parametrize(
    ("text", "code", "suggestion"),
    [
        ('BodyPartExamined != "HEAD"', "missing", '(BodyPartExamined != "HEAD" or BodyPartExamined is missing)'),
        ('PatientID not in ["1"]', "missing", '(PatientID not in ["1"] or PatientID is missing)'),
        ('not (ImageType has "X")', "missing", '(not ImageType has "X" or ImageType is missing)'),
        (
            'not (ImageType has "X" or Modality == "MR")',
            "missing",
            '(ImageType has "X" and ImageType is present)',
        ),
        ('Modality == "mr"', "case", '"MR"'),
        ('Modality == ""', "blank", "Modality is missing"),
        ('Modality contains ""', "blank", "Modality is present"),
        ('Modality == "ABCDEFGHIJKLMNOPQ"', "length", None),
        ("Rows between 9 and 1", "bounds", "Rows between 1 and 9"),
        ('StudyTime between "22:00" and "06:00"', "bounds", 'StudyTime between "06:00" and "22:00"'),
        ('InterpretationAuthor == "x"', "retired", None),
    ],
)
def test_what_is_doubtful_is_a_warning(text: str, code: str, suggestion: str | None) -> None:
    (warning,) = check(text).warnings
    assert (warning.code, warning.suggestion) == (code, suggestion)
    if suggestion is not None:
        span = warning.span
        repaired = text[: span.start] + suggestion + text[span.end :] if code != "blank" else suggestion
        assert check(repaired).warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        'Modality != "MR"',
        'not source.aet == "X"',
        'BodyPartExamined != "HEAD" or BodyPartExamined is missing',
        'StudyDescription contains " "',
        'StudyDescription contains "x" and Modality ~= "mr"',
        'PatientName == "Doe^Jane" and (0019,100C) == "x" and (0019,100C) in [1, 2] and PatientAge < "018M"',
        "Modality matches /[\\/]x/i and received.weekday in [6, 'sun'] and (6000,0010) > 3",
        'AcquisitionDateTime between "2026-01-31" and "2026-02-01 10:30"',
        "(0019,1010).CodeValue is present and source.called_aet is present and received.hour >= 22",
    ],
)
def test_what_is_sound_has_no_warnings(text: str) -> None:
    assert check(text).warnings == ()


@pytest.mark.parametrize(
    "clauses", [["Modality matches /x/"] * 33, ["Modality matches /" + "x" * 600 + "/"] * 2], ids=["many", "long"]
)
def test_the_patterns_of_a_rule_are_bounded(clauses: list[str]) -> None:
    with pytest.raises(RuleTypeError) as caught:
        check(" or ".join(clauses))
    (problem,) = caught.value.problems
    assert problem.code == "limit"


def test_only_the_first_bad_pattern_is_reported() -> None:
    with pytest.raises(RuleTypeError) as caught:
        check("Modality matches /(/ or Modality matches /)/")
    assert len(caught.value.problems) == 1


def test_a_path_in_the_wrong_capitals_is_suggested_as_a_whole() -> None:
    assert suggest("procedurecodesequence.codevalue") == "ProcedureCodeSequence.CodeValue"
    assert suggest("series.Instances") == "series.instances"


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("SliceThickness < 2 and source.aet == 'X'", []),
        ("(0019,100C) == 1", []),
        ("ProcedureCodeSequence is present and ProcedureCodeSequence.CodeValue == 'x'", []),
        ("DateOfSecondaryCapture is present", ["DateOfSecondaryCapture"]),
        ("ProcedureCodeSequence.CodeMeaning is present or (0019,100D) is present", [
            "ProcedureCodeSequence.CodeMeaning", "(0019,100D)",
        ]),
    ],
)  # fmt: skip
def test_a_field_that_is_not_read_from_the_images_is_a_warning_where_that_is_known(
    text: str, warned: list[str]
) -> None:
    collected = ["SliceThickness", "(0019,100c)", "ProcedureCodeSequence.CodeValue"]
    warnings = check(text, collected=collected).warnings
    assert [w.message.split(" is ")[0] for w in warnings if w.code == "uncollected"] == warned
    assert check(text).warnings == ()


def test_the_order_of_bounds_is_not_asked_where_they_are_no_values() -> None:
    with pytest.raises(RuleTypeError, match="quoted") as caught:
        check('Rows between "512" and 256')
    assert len(caught.value.problems) == 1


def test_suggestions_are_bounded_because_they_take_time() -> None:
    with pytest.raises(RuleTypeError) as caught:
        check("Modalit is present or Modalit is missing or Modalit is present")
    assert [problem.suggestion for problem in caught.value.problems] == ["Modality", "Modality", None]


def test_warnings_are_bounded() -> None:
    assert len(check(" and ".join(['PatientID != "x"'] * 30)).warnings) == 20


def test_a_scope_that_is_none_is_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="not the scope"):
        check("Modality is present", "patient")


def test_a_tree_that_was_built_gets_the_spans_of_its_canonical_text() -> None:
    checked = check(Rule(Presence(Field("Modality"), present=True)))
    assert checked.ast.source == "Modality is present"
    assert checked.ast.expression.span.end == 19
    parsed = parse("Modality   is present")
    assert check(parsed).ast is parsed
    with pytest.raises(RuleTypeError):
        check(Rule(Matches(Field("Modality"), "")))


def test_a_tree_that_was_built_too_deep_is_refused() -> None:
    expression: Not | Presence = Presence(Field("Modality"), present=True)
    for _ in range(5000):
        expression = Not(expression)
    with pytest.raises(RuleSyntaxError, match="nested"):
        check(Rule(expression))


def test_completion_offers_every_fact_and_keyword_with_operators() -> None:
    found = {info.name: info for info in fields()}
    assert found.keys() >= FACTS.keys()
    assert found["SliceThickness"].kind is Kind.NUMBER
    assert found["SliceThickness"].vr == "DS"
    assert found["ImageType"].vm == "2-n"
    assert found["InterpretationAuthor"].retired
    assert all(info.operators == OPERATORS[info.kind] for info in fields())
    assert len(found) == len(fields()) > 5000


def test_names_are_brought_into_one_form() -> None:
    assert canonical_name("(0008,0060)") == "Modality"
    assert canonical_name("( 0019 ,100c).CodeValue") == "(0019,100C).CodeValue"
    assert canonical_name("(0008,fFfF)") == "(0008,FFFF)"
    assert canonical_name("modality") == "modality"


def test_a_name_that_is_no_field_says_which_part_is_wrong() -> None:
    assert look_up("Foo.CodeValue") == NoField("there is no field Foo", "Foo")
    assert isinstance(look_up(""), NoField)
    assert suggest("X" * 81) is None
    assert suggest("q") is None
