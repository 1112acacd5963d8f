"""How long a series is kept and why; amounts of storage; what the documents about it show."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hermes_common.config import Policies, Retention, RuleSet
from hermes_common.retention import SHORTEST, Share, span_of, too_short
from hermes_common.sizes import LARGEST, format_size, parse_size, size_words

DOCS = next(path for parent in Path(__file__).resolve().parents if (path := parent / "docs").is_dir())
EXAMPLES = [
    (name, json.loads(body))
    for name in ("completion.md", "retention.md")
    for body in re.findall(r"^```json\n(.*?)^```$", (DOCS / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("name", "document"), EXAMPLES)
def test_the_examples_of_the_documents_can_be_saved(name: str, document: dict[str, Any]) -> None:
    if "rules" in document:
        assert RuleSet.model_validate(document).rules[0].needs is not None
    else:
        assert too_short(Policies.model_validate(document).retention) == []


def test_the_table_of_retentions_in_the_document_is_so() -> None:
    [policy] = [
        Policies.model_validate(document).retention for _, document in EXAMPLES if document.get("retention", {})
    ]
    for shares, days, why in (
        ([Share("delivered", ["ct"], "pacs")], 7, "delivered series"),
        ([Share("delivered", ["ct"], "ai")], 1, "target ai"),
        ([Share("delivered", ["ct"], "ai"), Share("delivered", ["ct"], "pacs")], 7, "delivered series"),
        ([Share("delivered", ["research"], "ai")], 90, "rule research"),
        ([Share("discarded", ["phantoms"])], 1 / 24, "rule phantoms"),
        ([Share("delivered", ["ct"], "pacs"), Share("unmatched")], 14, "unmatched series"),
        ([], 7, "delivered series"),
    ):
        span = span_of(shares, policy)
        assert (span.keep, span.why) == (timedelta(days=days), why)


def test_a_span_that_is_too_short_is_named_with_its_field_and_counts_as_the_shortest() -> None:
    policy = Retention.model_validate({"unmatched": "0s", "targets": [{"target": "ai", "keep": "9s"}]})
    assert [field for field, _ in too_short(policy)] == ["unmatched", "targets[0].keep"]
    assert span_of([Share("unmatched")], policy).keep == SHORTEST
    with pytest.raises(ValidationError, match="repeated: ai"):
        Retention.model_validate({"targets": [{"target": "ai", "keep": "1d"}] * 2})


@pytest.mark.parametrize(
    "wrong", [{"most": "0"}, {"most": "-1"}, {"least_free": "1e9"}, {"most": True}, {"most": "5K"}]
)
def test_a_watermark_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policies.model_validate({"watermark": wrong})


@pytest.mark.parametrize(
    ("text", "octets"), [("500GB", 500 * 10**9), (" 1.5 tb ", 15 * 10**11), ("12", 12), ("12B", 12), ("2MB", 2_000_000)]
)
def test_amounts_are_read_as_people_write_them(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@given(st.integers(0, LARGEST))
def test_what_is_written_as_an_amount_is_read_as_the_same(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets
    assert size_words(octets)
