"""What docs/rules.md shows is so."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hermes_common.config import MAX_EXTRA_TAGS
from hermes_common.dicom.tags import DEFAULT_TAGS
from hermes_common.rules import Context, RuleError, check, compile_rule, format_rule, parse
from hermes_common.rules.dictionary import FACTS, OPERATORS
from hermes_common.rules.importer import translate
from hermes_common.rules.lexer import MAX_BYTES, MAX_DEPTH, MAX_TOKENS
from hermes_common.rules.parser import MAX_NODES, MAX_VALUES
from hermes_common.rules.patterns import MAX_LENGTH, MAX_PATTERNS

NOW = datetime(2026, 3, 14, 10, 30, tzinfo=UTC)
TEXT = next(
    path for parent in Path(__file__).resolve().parents if (path := parent / "docs" / "rules.md").is_file()
).read_text()
BLOCKS = re.findall(r"^```(rule[a-z -]*|mercure|collected)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
RULES = [(body, "study" if "study" in kind else "series") for kind, body in BLOCKS if kind in {"rule", "rule study"}]
CASES = [
    (line.rsplit("->", 1)[0].strip(), line.rsplit("->", 1)[1].strip(), body.split("\n", 1)[0])
    for kind, body in BLOCKS
    if kind == "rule-cases"
    for line in body.strip().split("\n")[1:]
]

MERCURE = [
    [part.strip() for part in line.split("->")]
    for kind, body in BLOCKS
    if kind == "mercure"
    for line in body.splitlines()
]


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table after ``heading``, cells without their backticks."""
    rows = TEXT.split(heading, 1)[1].split("|---", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize(("text", "scope"), RULES)
def test_an_example_is_a_rule_without_warnings(text: str, scope: str) -> None:
    checked = check(text, scope)
    assert [w for w in checked.warnings if "not (ImageType" not in text] == []
    assert parse(format_rule(checked.ast)) == checked.ast


@pytest.mark.parametrize(("text", "verdict", "tags"), CASES)
def test_an_example_answers_as_shown(text: str, verdict: str, tags: str) -> None:
    assert compile_rule(text).evaluate(Context(json.loads(tags)), NOW).value == verdict.replace(" ", "_")


@pytest.mark.parametrize(("text", "_why", "suggestion"), table("## What is refused"))
def test_what_is_said_to_be_refused_is(text: str, _why: str, suggestion: str) -> None:
    with pytest.raises(RuleError) as caught:
        check(text)
    assert (caught.value.problems[0].suggestion or "") == suggestion


@pytest.mark.parametrize(("text", "_why"), table("And these are warnings:"))
def test_what_is_said_to_be_a_warning_is(text: str, _why: str) -> None:
    assert len(check(text).warnings) == 1


def test_every_fact_type_and_operator_is_described() -> None:
    for name in FACTS:
        assert f"`{name}`" in TEXT
    for kind, operators in OPERATORS.items():
        assert re.search(rf"\b{kind.value}\b", TEXT)
        for operator in operators:
            assert f"`{operator}" in TEXT


@pytest.mark.parametrize(("old", "new"), MERCURE)
def test_an_example_of_mercure_is_translated_as_shown(old: str, new: str) -> None:
    assert translate(old).text == new


def test_the_tags_that_are_read_are_listed() -> None:
    (listed,) = (body.split() for kind, body in BLOCKS if kind == "collected")
    assert sorted(listed) == sorted(DEFAULT_TAGS)


def test_the_limits_are_those_of_the_code() -> None:
    for limit in (MAX_BYTES, MAX_TOKENS, MAX_DEPTH, MAX_NODES, MAX_VALUES, MAX_PATTERNS, MAX_LENGTH):
        assert re.search(rf"\b{limit}\b", TEXT.split("Limits:", 1)[1].split("##", 1)[0]), limit
    assert f"up to {MAX_EXTRA_TAGS} others" in TEXT


def test_words_may_be_written_in_any_capitals() -> None:
    assert check('Modality IN ["MR"] AND Rows Is Present').ast == check('Modality in ["MR"] and Rows is present').ast


def test_the_examples_were_found() -> None:
    assert len(MERCURE) == 3
    assert len(RULES) >= 4
    assert len(CASES) >= 25
