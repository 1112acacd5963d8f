"""What Hermes knows of a series, as rules see it beside the tags: one place for the router and for every test."""

from collections.abc import Iterable
from datetime import datetime

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
