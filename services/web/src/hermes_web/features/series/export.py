"""The list of series as CSV (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable

from hermes_web.features.series.views import SeriesItem

COLUMNS = (
    *("last_received_at", "first_received_at", "state", "modality", "series_description", "study_description"),
    *("patient_name", "patient_id", "accession_number", "calling_aet", "address", "instances", "octets"),
    *("duplicates", "conflicts", "rules_revision", "ended_at", "series_uid", "study_uid"),
)
PERSONAL = ("patient_name", "patient_id")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(items: Iterable[SeriesItem], masked: bool) -> str:
    """Return one line a series under a line of names; with ``masked`` without what says who the patient is."""
    names = [name for name in COLUMNS if not (masked and name in PERSONAL)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for item in items:
        values = item.model_dump(mode="json")
        writer.writerow([_cell(values[name]) for name in names])
    return text.getvalue()


def _cell(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
