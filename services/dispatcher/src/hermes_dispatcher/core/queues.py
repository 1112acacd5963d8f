"""Which queues are read, and how many attempts may run at a time in each."""

from collections.abc import Collection

from hermes_common.config import Targets

REMOVED = 4
"""Attempts at a time for a target that is not configured any more: each only says so."""


def wanted(targets: Targets, queued: Collection[str]) -> dict[str, int]:
    """Return the concurrency of each target whose queue is to be read; a paused target's is not.

    ``queued`` are the slugs for which there is work, also those that the configuration does not know any more.
    """
    known = {target.slug: target for target in targets.targets}
    found = {slug: REMOVED for slug in queued if slug not in known}
    found.update({slug: target.concurrency for slug, target in known.items() if target.enabled})
    return found
