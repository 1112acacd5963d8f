"""What Hermes knows of a series, as rules see it beside the tags: one place for the router and for every test."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

MOST_VALUES = 32
"""Values that are kept of a tag."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def series_facts(
    aets: Iterable[str], called_aets: Iterable[str], addresses: Iterable[str], instances: int, octets: int
) -> dict[str, list[str]]:
    """Return ``source.*`` and ``series.*``; a series that several senders sent has several values."""
    return {
        "source.aet": list(dict.fromkeys(aets)),
        "source.called_aet": list(dict.fromkeys(called_aets)),
        "source.ip": list(dict.fromkeys(addresses)),
        "series.instances": [str(instances)],
        "series.bytes": [str(octets)],
    }


def received_facts(received: datetime) -> dict[str, list[str]]:
    """Return ``received.*``; ``received`` is when the last instance came, in the zone whose hours people mean."""
    return {"received.hour": [str(received.hour)], "received.weekday": [WEEKDAYS[received.weekday()]]}


def merged_tags(tags: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Return the distinct values of each tag, in the order given; present somewhere is present."""
    merged: dict[str, dict[str, None]] = {}
    for one in tags:
        for name, values in one.items():
            known = merged.setdefault(name, {})
            for value in values:
                if len(known) < MOST_VALUES:
                    known.setdefault(value)
    return {name: list(values) for name, values in merged.items()}


def study_fields(
    series: Sequence[Mapping[str, Sequence[str]]], instances: int, latest: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return what rules about studies see: the tags of all series, and the facts of docs/rules.md.

    ``series``: what rules about series see of each; ``latest``: of that of which the last instance came.
    """
    tags = merged_tags(
        {name: values for name, values in fields.items() if not name.startswith(("series.", "received."))}
        for fields in series
    )
    received = {name: list(values) for name, values in latest.items() if name.startswith("received.")}
    return {**tags, **received, "study.series": [str(len(series))], "study.instances": [str(instances)]}
