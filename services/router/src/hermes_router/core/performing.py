"""What the performed procedure steps of a study say about how much of it there is (MPPS, PS3.4 F.7).

Only what is COMPLETED counts, and only to wait for less: a step that is DISCONTINUED, or that is never heard of again,
changes nothing about its series.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from hermes_common.events import MppsCreated, MppsSet, StepStatus

Said = MppsCreated | MppsSet


def latest(said: Iterable[Said]) -> list[Said]:
    """Return the last that was said of each step, in whatever order and how often it came."""
    last: dict[str, Said] = {}
    for event in said:
        known = last.get(event.sop_instance_uid)
        if known is None or event.change > known.change:
            last[event.sop_instance_uid] = event
    return list(last.values())


def named(said: Iterable[Said]) -> dict[str, int]:
    """Return how many instances completed steps name of each series; a series that they do not count is left out."""
    counts: Counter[str] = Counter()
    for event in latest(said):
        if event.status is StepStatus.COMPLETED:
            counts.update({series.series_uid: series.instances for series in event.series})
    return {series_uid: count for series_uid, count in counts.items() if count}


def all_of(said: Iterable[Said], there: Mapping[str, int]) -> int | None:
    """Return how many instances the steps of a study have made, if every one of them is there.

    ``there`` has the number of distinct instances of each series. None if a step is not completed, if a series is not
    counted, or if something is missing.
    """
    steps = latest(said)
    counts = named(steps)
    series = {each.series_uid for event in steps for each in event.series}
    if any(event.status is not StepStatus.COMPLETED for event in steps) or not series or counts.keys() != series:
        return None
    if any(there.get(series_uid, 0) < count for series_uid, count in counts.items()):
        return None
    return sum(counts.values())
