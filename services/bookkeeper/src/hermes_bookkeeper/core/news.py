"""What is told of a commit."""

from collections.abc import Sequence

from hermes_bookkeeper.core.facts import Fact
from hermes_common.events import InstanceStored
from hermes_common.news import MOST_SERIES, Recorded


def news_of(facts: Sequence[Fact]) -> Recorded:
    """Return what a commit of these facts was about."""
    series = list(dict.fromkeys(fact.series_uid for fact in facts if fact.series_uid is not None))
    return Recorded(
        series=tuple(series[:MOST_SERIES]),
        more=len(series) > MOST_SERIES,
        instances_only=all(isinstance(fact.event, InstanceStored) for fact in facts),
    )
