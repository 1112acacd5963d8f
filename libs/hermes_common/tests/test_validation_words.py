"""What a validator says, in plain words: every pattern of the models has some."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hermes_common.config import MODELS, Kind, Source
from hermes_common.targets import Target
from hermes_common.validation_words import plain_words


def messages(model: Any, value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_python(value)
    return " | ".join(plain_words(item["msg"]) for item in caught.value.errors())


def patterns(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
        return own.union(*(patterns(value) for value in schema.values()))
    return set().union(*(patterns(item) for item in schema)) if isinstance(schema, list) else set()


def test_every_pattern_of_a_document_is_told_as_what_is_allowed() -> None:
    found = set().union(*(patterns(MODELS[kind].model_json_schema()) for kind in Kind))
    assert len(found) > 5
    for pattern in found:
        assert plain_words(f"String should match pattern '{pattern}'").startswith("allowed are "), pattern


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"kind": "ftp"}, "there is no kind 'ftp'; it is one of 'dicom', "),
        ({}, "'kind' is missing"),
        ({"kind": "dicom", "slug": "a", "name": "a", "host": "a b", "ae_title": "A", "port": 1}, "letters, digits and"),
        (
            {"kind": "dicom", "slug": "a", "name": "a", "host": "a", "ae_title": "A", "port": 70000},
            "it has to be 65535 or",
        ),
        ({"kind": "dicom", "slug": "a", "name": "a", "host": "a", "ae_title": "A", "port": "x"}, "a whole number"),
        ({"kind": "dicom", "slug": "a", "name": "a", "ae_title": "A", "colour": 1}, "this is missing | "),
    ],
)
def test_what_is_wrong_with_a_target_is_said_in_plain_words(value: Any, said: str) -> None:
    words = messages(Target, value)
    assert said in words, words
    assert "Input" not in words
    assert "String" not in words


def test_our_own_words_lose_the_prefix_of_the_validator_and_the_unknown_is_shown_as_it_is() -> None:
    assert "Value error" not in messages(Source, {"slug": "a", "name": "a"})
    assert plain_words("something new") == "something new"
    assert plain_words("String should match pattern '^z$'") == "it does not have the form ^z$"
