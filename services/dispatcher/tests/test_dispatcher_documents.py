"""The tables of failures in the documentation say what the dispatcher does."""

import re
from pathlib import Path

import pytest

from hermes_common.dicom.status import meaning_of
from hermes_dispatcher.adapters.targets.http import trouble_of
from hermes_dispatcher.core.outcomes import Delivered, outcome_of

_ROW = re.compile(r"^\| ([0-9A-Fx]{3,4}) \| (\w+) \| (.+) \|$", re.MULTILINE)


@pytest.fixture
def rows(repository: Path) -> list[tuple[str, str, str]]:
    return _ROW.findall((repository / "docs" / "deliveries.md").read_text("utf-8"))


def kind_of(code: str, rows: list[tuple[str, str, str]]) -> str:
    """Return the kind of the most exact row that fits."""
    fitting = [
        (pattern.count("x"), kind)
        for pattern, kind, _ in rows
        if len(pattern) == len(code) and all(a in ("x", b) for a, b in zip(pattern, code, strict=True))
    ]
    return min(fitting)[1]


def test_every_dimse_status_is_treated_as_the_table_says(rows) -> None:
    for code in range(0x10000):
        outcome = outcome_of(meaning_of(code), "")
        kind = "delivered" if isinstance(outcome, Delivered) else outcome.trouble.value
        assert kind == kind_of(f"{code:04X}", rows), f"{code:04X}"


def test_every_http_status_is_treated_as_the_table_says(rows) -> None:
    for status in range(300, 600):
        assert trouble_of(status, "", alone=True).trouble.value == kind_of(str(status), rows), status


def test_every_row_names_a_paragraph(rows) -> None:
    unnamed = [pattern for pattern, _, words in rows if not re.search(r"PS3\.\d+ [A-Z0-9]|RFC \d+ \d|no table", words)]
    assert len(rows) > 40
    assert unnamed == []
