"""Which queues are read, and how many attempts may run at a time for each target."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from hermes_common.config import Targets
from hermes_common.targets import Priority

REMOVED = 4
"""Attempts at a time for a target that is not configured any more: each only says so."""


@dataclass(frozen=True, slots=True)
class Want:
    """How many attempts at a time, over all dispatchers, and of which priorities."""

    concurrency: int
    priorities: frozenset[Priority]


def wanted(
    targets: Targets,
    queued: Mapping[str, Collection[Priority]],
    down: Collection[str],
    is_off_peak: bool,
    now: datetime,
) -> dict[str, Want]:
    """Return the targets whose queues are to be read; not those that are paused or down.

    ``queued`` are the slugs and priorities for which there is work, also of targets that the configuration does not
    know any more. The queue of normal work is always read, the others when there is something in them, and that of
    ``off_peak`` in its hours.
    """
    known = {target.slug: target for target in targets.targets}
    found = {slug: Want(REMOVED, frozenset(priorities)) for slug, priorities in queued.items() if slug not in known}
    for slug, target in known.items():
        if target.is_paused(now) or slug in down:
            continue
        priorities = {Priority.NORMAL, *queued.get(slug, ())}
        if not is_off_peak:
            priorities.discard(Priority.OFF_PEAK)
        found[slug] = Want(target.concurrency, frozenset(priorities))
    return found
