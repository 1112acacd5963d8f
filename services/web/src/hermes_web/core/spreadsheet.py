"""Lines of a CSV file (RFC 4180) that a spreadsheet may open. Pure."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_JOINED = "\\"
"""Between the values of one attribute (PS3.5 6.2)."""


def csv_lines(rows: Sequence[Sequence[object]]) -> bytes:
    """Return a line a row; no cell is one that a spreadsheet takes for a formula."""
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case list():
            return _cell(_JOINED.join(str(each) for each in value))
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case _:
            return value
