"""Text to tree and back: what parses, what is refused and how, and the canonical form."""

import pytest
from pydicom.datadict import keyword_dict

from hermes_common.rules import RuleSyntaxError, format_rule, parse
from hermes_common.rules.lexer import KEYWORDS, UNITS
from hermes_common.rules.tree import (
    And,
    Between,
    Compare,
    CountSeries,
    Field,
    Matches,
    Member,
    Not,
    Number,
    Or,
    Presence,
    Relation,
    Rule,
    SomeSeries,
    Text,
    Unit,
    Within,
    children,
)

A = Presence(Field("Modality"), present=True)
B = Presence(Field("PatientID"), present=False)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Modality is present", A),
        ("PatientID is missing", B),
        ("(0008,0060) is present", A),
        ("( 0019 , 100c ) is present", Presence(Field("(0019,100C)"), present=True)),
        ("(0040,A043).(0008,0100) is missing", Presence(Field("ConceptNameCodeSequence.CodeValue"), present=False)),
        ("(6000,0010) is present", Presence(Field("(6000,0010)"), present=True)),
        *[(f'Modality {op} "MR"', Compare(Field("Modality"), Relation(op), Text("MR"))) for op in Relation],
        ("Rows < -1.5e1", Compare(Field("Rows"), Relation.LESS, Number(-15.0))),
        ("Rows >= +12", Compare(Field("Rows"), Relation.GREATER_EQUAL, Number(12))),
        ('A in ["x", 2]', Member(Field("A"), (Text("x"), Number(2)))),
        ("A NOT In ['x']", Member(Field("A"), (Text("x"),), negated=True)),
        ("A matches /a\\/b\\d/", Matches(Field("A"), "a/b\\d")),
        ("A matches /x/i", Matches(Field("A"), "x", ignore_case=True)),
        ("A between 1 and 2", Between(Field("A"), Number(1), Number(2))),
        ("A within last 1 day", Within(Field("A"), 1, Unit.DAYS)),
        ("A within last 3 hours", Within(Field("A"), 3, Unit.HOURS)),
        ('A == "q\\"\\\\\\n\\t\\r\\\'"', Compare(Field("A"), Relation.EQUAL, Text("q\"\\\n\t\r'"))),
        ("Modality is present and PatientID is missing", And((A, B))),
        ("Modality is present and (PatientID is missing and Modality is present)", And((A, B, A))),
        ("Modality is present or PatientID is missing and Modality is present", Or((A, And((B, A))))),
        ("(Modality is present or PatientID is missing) and Modality is present", And((Or((A, B)), A))),
        ("not not (Modality is present)", Not(Not(A))),
        ("not Modality is present and PatientID is missing", And((Not(A), B))),
        ("any series (Modality is present)", SomeSeries("any", A)),
        ("ALL SERIES (Modality is present)", SomeSeries("all", A)),
        ("count series (Modality is present) != 0", CountSeries(A, Relation.NOT_EQUAL, 0)),
    ],
)
def test_a_text_becomes_this_tree_and_its_canonical_text_the_same_again(text: str, expression: object) -> None:
    rule = parse(text)
    assert rule.expression == expression
    canonical = format_rule(rule)
    assert parse(canonical) == rule
    assert format_rule(parse(canonical)) == canonical


def test_spans_say_where_each_clause_stands() -> None:
    text = '# first\n  Modality == "MR"\n  and (Rows < 3 or any series (A is present))'
    expression = parse(text).expression
    assert isinstance(expression, And)
    first, group = expression.items
    assert text[first.span.start : first.span.end] == 'Modality == "MR"'
    assert (first.span.line, first.span.column) == (2, 3)
    assert text[group.span.start : group.span.end] == "(Rows < 3 or any series (A is present))"
    assert [text[c.span.start : c.span.end] for c in children(group)] == ["Rows < 3", "any series (A is present)"]


def test_comments_survive_formatting_in_front_of_the_rule() -> None:
    rule = parse("#one\nModality is present # two\n#\n")
    assert rule.comments == ("one", "two", "")
    assert format_rule(rule) == "# one\n# two\n#\nModality is present"
    assert parse(format_rule(rule)) == rule


def test_a_long_rule_has_one_line_per_operand() -> None:
    clause = 'SeriesDescription contains "something rather long to read"'
    text = format_rule(parse(f"{clause} and ({clause} or {clause})"))
    assert text == f"{clause}\n  and ({clause} or {clause})"
    assert "\n" not in format_rule(parse(f"not ({clause} and {clause} and {clause})"))


def test_what_a_builder_nests_needlessly_is_flat_in_the_text() -> None:
    assert format_rule(Rule(And((A, And((B, A)))))) == (
        "Modality is present and PatientID is missing and Modality is present"
    )
    assert format_rule(Rule(Matches(Field("A"), "a/\n"))) == "A matches /a\\/\\n/"


@pytest.mark.parametrize(
    ("text", "line", "column", "words", "suggestion"),
    [
        ("", 1, 1, "empty", None),
        ("  # only a comment", 1, 19, "empty", None),
        ("Modality", 1, 9, "ends too early", None),
        ('Modality = "MR"', 1, 10, "=", "=="),
        ('Modality == "MR" && A == 1', 1, 18, "&&", "and"),
        ("Modality == “MR”", 1, 13, "“", '"'),
        ("Modality == MR", 1, 13, "not expected", '"MR"'),
        ('Modality in "MR"', 1, 13, "not expected", '["MR"]'),
        ('A matches "x"', 1, 11, "not expected", "/x/"),
        ('Modality ==\n "MR', 2, 2, "not closed", None),
        ("A matches /x", 1, 11, "not closed", None),
        ("A == ;", 1, 6, "';'", None),
        ('A == "\\q"', 1, 6, "no meaning", None),
        ("A matches /x/g", 1, 11, "flag", None),
        ("A == 1e999", 1, 6, "too large", None),
        ("A == " + "1" * 33, 1, 6, "at most 32", None),
        ("A within last 0 days", 1, 15, "whole number", None),
        ("A within last 1.5 days", 1, 15, "whole number", None),
        ("A within last 100001 days", 1, 15, "whole number", None),
        ("count series (A is present) > -1", 1, 31, "whole number", None),
        ("A is present " + "x" * 99, 1, 14, "…", None),
        ("A == 1 and", 1, 11, "ends too early", None),
        ('A containes "x"', 1, 3, "not expected", "contains"),
        ('A begins with "x"', 1, 3, "not expected", "starts"),
        ("A exists", 1, 3, "not expected", "is present"),
        ("A is presnt", 1, 6, "not expected", "present"),
        ("A is empty", 1, 6, "not expected", "missing"),
        ("A == 1 adn B == 2", 1, 8, "not expected", "and"),
        ("A within lst 3 days", 1, 10, "not expected", "last"),
        ("A within last 3 dayz", 1, 17, "not expected", "day"),
        ("any serie (A is present)", 1, 5, "not expected", "series"),
        ('A in ("x", "y")', 1, 6, "not expected", "["),
        ("A in 1", 1, 6, "not expected", "[1]"),
        ('A not contains "x"', 1, 7, "not stands before the field", None),
        ("A => 1", 1, 3, "=>", ">="),
        (") A", 1, 1, "not expected", None),
        ('A == "\ud800"', 1, 7, "surrogate", None),
    ],
)
def test_a_text_that_is_no_rule_is_refused_at_the_place(
    text: str, line: int, column: int, words: str, suggestion: str | None
) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert (problem.span.line, problem.span.column) == (line, column)
    assert words in problem.message
    assert problem.suggestion == suggestion
    assert problem.message in str(caught.value)


def test_an_unexpected_word_comes_with_what_could_stand_there() -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse("A within last 3 weeks")
    (problem,) = caught.value.problems
    assert problem.expected == ("minutes, hours or days",)
    assert str(problem) == "line 1, column 17: weeks is not expected here; expected minutes, hours or days"
    assert problem.to_dict() == {
        "code": "syntax",
        "message": "weeks is not expected here",
        "start": 16,
        "end": 21,
        "line": 1,
        "column": 17,
        "expected": ["minutes, hours or days"],
        "suggestion": None,
    }


CLAUSE = "A is present"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#" * 4097, "4097 bytes"),
        ("é" * 2049, "4098 bytes"),
        ("(" * 33 + CLAUSE + ")" * 33, "parentheses"),
        ("not " * 32 + CLAUSE, "nested"),
        (" and ".join([CLAUSE] * 200), "200 conditions"),
        ("A in [" + "1," * 200 + "1]", "201 values"),
        ("A in [" + "1," * 700 + "1]", "1200 words"),
        ("A in ['" + '"' * 2100 + "']", "canonical"),
    ],
)
def test_limits_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse(text)
    assert caught.value.problems[0].code == "limit"
    assert words in caught.value.problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 32 + CLAUSE + ")" * 32,
        "not " * 31 + CLAUSE,
        " and ".join([CLAUSE] * 199),
        "A in [" + "1," * 199 + "1]",
        CLAUSE + "#" + "x" * 4080,
    ],
)
def test_what_is_just_within_the_limits_is_a_rule(text: str) -> None:
    rule = parse(text)
    assert parse(format_rule(rule)) == rule


def test_no_keyword_of_the_dictionary_is_a_reserved_word() -> None:
    assert not {keyword.lower() for keyword in keyword_dict} & {*KEYWORDS, *UNITS}
