"""The tags of a series: the distinct values of its batches."""

from collections.abc import Iterable, Mapping, Sequence

LIMIT = 32
"""Values kept of one tag."""

COLUMNS = {
    "modality": "Modality",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "accession_number": "AccessionNumber",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
}
"""Column of ``ledger.series`` -> keyword (PS3.6)."""


def merge(parts: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Return the distinct values of each tag in the order of their first appearance, at most :data:`LIMIT` each."""
    merged: dict[str, dict[str, None]] = {}
    for part in parts:
        for tag, values in part.items():
            known = merged.setdefault(tag, {})
            for value in values:
                if len(known) < LIMIT:
                    known.setdefault(value)
    return {tag: list(values) for tag, values in merged.items()}


def flat(tags: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the columns that people search by: the first value of each tag, or nothing."""
    return {column: next(iter(tags.get(keyword, ())), "") for column, keyword in COLUMNS.items()}
