"""A rule as the tree that an editor shows."""

from typing import Any

import pytest

from hermes_common.rules import parse
from hermes_common.rules.facts import study_fields
from hermes_common.rules.outline import outline


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    inside = node.get("items", [node["item"]] if "item" in node else [])
    return [leaf for each in inside for leaf in leaves(each)] or [node]


@pytest.mark.parametrize(
    ("text", "operator", "values"),
    [
        ('Modality == "a\\"b"', "==", ['a"b']),
        ("Rows in [1, 2.50]", "in", ["1", "2.5"]),
        ('Modality not in ["CT"]', "not in", ["CT"]),
        ("Rows between 1 and 2", "between", ["1", "2"]),
        ("SeriesDescription matches /a\\/b/i", "matches", ["a/b", "i"]),
        ("StudyDate within last 3 days", "within last", ["3", "days"]),
        ("KVP is missing", "is missing", []),
    ],
)
def test_a_clause_has_its_values_as_they_are_typed(text: str, operator: str, values: list[str]) -> None:
    root = outline(parse(text))["root"]
    assert (root["kind"], root["operator"], root["values"]) == ("clause", operator, values)


def test_every_clause_stands_where_its_text_is_and_comments_are_kept() -> None:
    text = '# why\nnot (KVP is missing or Rows > 1) and count series (Modality == "MR" and not KVP > 5) >= 2'
    found = outline(parse(text))
    assert found["comments"] == ["why"]
    root = found["root"]
    assert (root["kind"], [item["kind"] for item in root["items"]]) == ("and", ["not", "count"])
    count = root["items"][1]
    assert (count["relation"], count["amount"], count["item"]["kind"]) == (">=", 2, "and")
    assert [text[leaf["start"] : leaf["end"]] for leaf in leaves(root)] == [leaf["text"] for leaf in leaves(root)]


def test_a_quantifier_has_what_it_asks_of_the_series() -> None:
    root = outline(parse('any series (Modality == "MR")'))["root"]
    assert (root["kind"], root["item"]["field"]) == ("any", "Modality")


def test_a_study_has_the_values_of_all_its_series_up_to_a_bound_and_facts_of_its_own() -> None:
    series = [{"Modality": [str(n)], "series.bytes": ["1"], "received.hour": [str(n)]} for n in range(40)]
    fields = study_fields(series, 7, series[3])
    assert (len(fields["Modality"]), fields["study.series"], fields["study.instances"]) == (32, ["40"], ["7"])
    assert (fields["received.hour"], "series.bytes" in fields) == (["3"], False)
