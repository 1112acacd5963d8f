"""Expressions of Mercure, translated where that is possible and refused with a place where it is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_common.rules import RuleError, RuleSyntaxError, check
from hermes_common.rules.importer import translate, translate_completion


@pytest.mark.parametrize(
    ("old", "new", "notes"),
    [
        (
            "\"Cardiac\" in @StudyDescription@ and @Modality@ == 'MR'",
            'StudyDescription contains "Cardiac" and Modality == "MR"',
            1,
        ),
        (
            "('Tr' in @ManufacturerModelName@) | (@ManufacturerModelName@ == 'Trio')",
            'ManufacturerModelName contains "Tr" or ManufacturerModelName == "Trio"',
            1,
        ),
        ("('a' in @Modality@) & ('b' in @Modality@)", 'Modality contains "a" and Modality contains "b"', 2),
        ("float(@SliceThickness@) <= 1.5", "SliceThickness <= 1.5", 0),
        ("-2 < int(@SeriesNumber@)", "SeriesNumber > -2", 0),
        ("5 < int(@SeriesNumber@)", "SeriesNumber > 5", 0),
        ("int(@SeriesNumber@) > -2", "SeriesNumber > -2", 0),
        ("@SliceThickness@ == '1.5' or @SeriesNumber@ != '3'", "SliceThickness == 1.5 or SeriesNumber != 3", 0),
        ("'brain' in @StudyDescription@.lower()", 'StudyDescription contains "brain"', 0),
        ("tags.modality.lower() == 'mr'", 'Modality ~= "mr"', 0),
        ("str(tags['Modality']).upper() != 'MR'", 'not Modality ~= "MR"', 0),
        ("@Modality@.strip() == 'MR'", 'Modality == "MR"', 0),
        ("@Modality@ in ['MR', 'CT']", 'Modality in ["MR", "CT"]', 0),
        ("@Modality@ not in ('MR',)", 'Modality not in ["MR"]', 0),
        ("'x' not in @SeriesDescription@", 'not SeriesDescription contains "x"', 1),
        ("@SeriesDescription@.startswith('t1')", 'SeriesDescription starts with "t1"', 1),
        ("@SeriesDescription@.endswith('gd')", 'SeriesDescription ends with "gd"', 1),
        ("'PatientID' in tags", "PatientID is present", 1),
        ("tags.contains('PatientID')", "PatientID is present", 1),
        ("tags.contains('StudyDescription', 'brain')", 'StudyDescription contains "brain"', 1),
        (
            "tags.SenderAET == 'MR01' and @SenderAddress@ != '10.0.0.1'",
            'source.aet == "MR01" and source.ip != "10.0.0.1"',
            0,
        ),
        ("tags['ReceiverAET'] == 'ROUTER'", 'source.called_aet == "ROUTER"', 0),
        ("not @PatientID@", "not PatientID is present", 0),
    ],
)
def test_an_expression_is_translated(old: str, new: str, notes: int) -> None:
    made = translate(old)
    assert made.text == new
    assert len(made.notes) == notes
    check(made.text)


@pytest.mark.parametrize(
    ("old", "line", "column", "words"),
    [
        ("@Modality@ = 'MR'", 1, 2, "not an expression"),
        ("@Modality@ == '\ud800'", 1, 1, "cannot be read"),
        ("@Modality@ @Modality@", 1, 2, "not an expression"),
        ("", 1, 1, "no counterpart"),
        ("@Modality@ ==", 1, 13, "not an expression"),
        ("@Modality@ == 'MR' and @Modalty@ == 'x'", 1, 25, "no field Modalty"),
        ("@Modality@ == 'é' and\n len(@Modality@) > 2", 2, 2, "a tag should stand"),
        ("'é' == @Modality@ and tags.holds('x')", 1, 23, "no counterpart"),
        ("'é' == @Modality@ and tags.contains('x')", 1, 37, "no field x"),
        ("tags.contains(@Modality@)", 1, 1, "the name of a tag in quotes"),
        ("tags.contains('Modality', 'a', 'b')", 1, 1, "perhaps a text"),
        ("@Modality@ == @PatientID@", 1, 16, "a text or a number"),
        ("@Modality@ == True", 1, 15, "a text or a number"),
        ("@Modality@ is None", 1, 1, "no counterpart"),
        ("@Modality@ in []", 1, 1, "no counterpart"),
        ("1 < int(@Rows@) < 3", 1, 1, "no counterpart"),
        ("@Modality@ < 'MR'", 1, 2, "does not go with"),
        ("@Rows@ == 'many'", 1, 2, "a quoted value is a text"),
        ("tags == 'x'", 1, 1, "a tag should stand"),
        ("__import__('os').system('x')", 1, 1, "no counterpart"),
        ("not " * 1000 + "@Modality@", 1, 1, "nested"),
        ("x" * 4097, 1, 1, "4096"),
    ],
)
def test_what_cannot_be_translated_is_refused_at_its_place(old: str, line: int, column: int, words: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        translate(old)
    (problem,) = caught.value.problems
    assert words in problem.message
    assert problem.span.line == line
    assert abs(problem.span.column - column) <= 2


def test_a_list_of_required_series_becomes_a_study_rule() -> None:
    made = translate_completion("'SAG' or ('COR' and 'AX')")
    assert made.text == (
        'any series (SeriesDescription contains "SAG")\n'
        '  or (any series (SeriesDescription contains "COR") and any series (SeriesDescription contains "AX"))'
    )
    check(made.text, "study")
    with pytest.raises(RuleSyntaxError, match="only names of series"):
        translate_completion("not 'SAG'")


@given(st.one_of(st.text(max_size=60), st.text("@()'\" andortgsMlity=<>[],.0\n\\", max_size=40)))
@settings(deadline=None)
def test_any_text_is_translated_or_refused(old: str) -> None:
    for function in (translate, translate_completion):
        try:
            made = function(old)
        except RuleError as exc:
            place = exc.problems[0].span
            assert place.start >= 0  # both endings are right
        else:
            assert made.text
