"""What an editor is told of the language is what the language is."""

import json

import pytest

from hermes_common.dicom.tags import DEFAULT_TAGS
from hermes_common.rules import Kind, check, vocabulary
from hermes_common.rules.dictionary import FACTS

WORDS = vocabulary()
FIELDS = {field["name"]: field for field in WORDS["fields"]}
OPERANDS = {
    "value": {"text": '"A"', "person": '"A"', "number": "1", "date": '"20260131"', "time": '"08:30"', "age": "1",
              "datetime": '"2026-01-31 08:30"', "weekday": '"monday"', "untyped": "1"},
    "text": '"A"',
    "pattern": "/a/i",
    "duration": "3 days",
    "nothing": "",
}  # fmt: skip
SAMPLES = {
    "text": "Modality", "person": "PatientName", "number": "Rows", "date": "StudyDate", "time": "StudyTime",
    "datetime": "AcquisitionDateTime", "age": "PatientAge", "weekday": "received.weekday", "untyped": "(0019,100C)",
    "sequence": "ProcedureCodeSequence", "binary": "PixelData",
}  # fmt: skip


def operand(kind: str, takes: str) -> str:
    if takes in {"list", "range"}:
        value = OPERANDS["value"][kind]
        return f"[{value}, {value}]" if takes == "list" else f"{value} and {value}"
    return OPERANDS["value"][kind] if takes == "value" else OPERANDS[takes]


@pytest.mark.parametrize("kind", [kind.value for kind in Kind])
def test_every_operator_of_a_type_can_be_written_with_what_it_is_said_to_take(kind: str) -> None:
    operators = WORDS["types"][kind]["operators"]
    assert {"is present", "is missing"} <= {each["operator"] for each in operators}
    for each in operators:
        check(f"{SAMPLES[kind]} {each['operator']} {operand(kind, each['takes'])}")


def test_operators_that_ignore_case_are_marked() -> None:
    marked = {each["operator"] for each in WORDS["types"]["text"]["operators"] if each["ignores_case"]}
    assert marked == {"~=", "contains", "starts with", "ends with"}


def test_facts_come_first_then_what_is_collected_then_the_rest_of_the_standard() -> None:
    names = list(FIELDS)
    assert set(names[: len(FACTS)]) == set(FACTS)
    assert set(names[len(FACTS) : len(FACTS) + len(DEFAULT_TAGS)]) == set(DEFAULT_TAGS)
    assert FIELDS["SliceThickness"] | {"label": ""} == {
        "name": "SliceThickness", "label": "", "type": "number", "vr": "DS", "vm": "1", "retired": False,
        "optional": True, "fact": False, "collected": True, "places": ["series", "study", "series in study"],
    }  # fmt: skip
    assert FIELDS["ProcedureCodeSequence.CodeValue"]["collected"]
    assert not FIELDS["DateOfSecondaryCapture"]["collected"]


def test_what_a_site_adds_is_a_field_and_what_is_no_field_is_not() -> None:
    fields = {field["name"]: field for field in vocabulary([*DEFAULT_TAGS, "(0019,100c)", "Nonsense"])["fields"]}
    assert fields["(0019,100C)"]["type"] == "untyped"
    assert fields["(0019,100C)"]["collected"]
    assert "Nonsense" not in fields


def test_it_is_json() -> None:
    assert json.loads(json.dumps(WORDS)) == WORDS
