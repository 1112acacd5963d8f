"""Which queues are read, and how many attempts may run at a time for each target."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from hermes_common.config import Targets
from hermes_common.targets import Priority, strategy_of
from hermes_dispatcher.core.choosing import capacity

REMOVED = 4
"""Attempts at a time for a target that is not configured any more: each only says so."""


@dataclass(frozen=True, slots=True)
class Want:
    """How many attempts at a time, over all dispatchers, and of which priorities."""

    concurrency: int
    """With every endpoint up."""
    priorities: frozenset[Priority]
    places: int
    """With the endpoints that are up now."""
    bandwidth: int | None = None


def wanted(
    targets: Targets,
    queued: Mapping[str, Collection[Priority]],
    down: Collection[str],
    is_off_peak: bool,
    now: datetime,
    endpoints_down: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Want]:
    """Return the targets whose queues are to be read; not those that are paused or down.

    ``queued`` are the slugs and priorities for which there is work, also of targets that the configuration does not
    know any more; ``endpoints_down`` are the tokens of endpoints, by slug. The queue of normal work is always read, the
    others when there is something in them, and that of ``off_peak`` in its hours.
    """
    known = {target.slug: target for target in targets.targets}
    found = {
        slug: Want(REMOVED, frozenset(priorities), REMOVED) for slug, priorities in queued.items() if slug not in known
    }
    for slug, target in known.items():
        if target.is_paused(now) or slug in down:
            continue
        priorities = {Priority.NORMAL, *queued.get(slug, ())}
        if not is_off_peak:
            priorities.discard(Priority.OFF_PEAK)
        endpoints, how = target.all_endpoints(), strategy_of(target)
        most = max(capacity(how, endpoints[place:], ()) for place in range(len(endpoints)))
        places = capacity(how, endpoints, (endpoints_down or {}).get(slug, ()))
        found[slug] = Want(most, frozenset(priorities), places, target.bandwidth)
    return found
