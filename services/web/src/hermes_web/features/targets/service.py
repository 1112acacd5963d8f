"""Targets: what the API and the pages do alike."""

import asyncio

from hermes_common.config import DicomTarget, FolderTarget, Kind, Targets
from hermes_web.adapters.probe import Probe, probe
from hermes_web.core.configuration import with_target
from hermes_web.errors import NotFoundError, StateConflictError, UnavailableError
from hermes_web.web import Web

_AT_ONCE = asyncio.Semaphore(4)


async def find(web: Web, slug: str) -> DicomTarget | FolderTarget:
    """Return a target; raise :class:`NotFoundError`."""
    found = (await web.targets())[1].get(slug)
    if found is None:
        raise NotFoundError(f"there is no target {slug!r}")
    return found


async def test(web: Web, slug: str) -> Probe:
    """Test a target from this machine, at most four at once."""
    target = await find(web, slug)
    try:
        async with asyncio.timeout(60), _AT_ONCE:
            return await asyncio.to_thread(probe, target)
    except TimeoutError as error:
        raise UnavailableError(f"the test of {slug} took more than a minute") from error


async def set_enabled(web: Web, slug: str, enabled: bool, actor: str, reason: str) -> DicomTarget | FolderTarget:
    """Pause or resume a target: a new revision of the targets."""
    revision, targets = await web.targets()
    found = targets.get(slug)
    if found is None:
        raise NotFoundError(f"there is no target {slug!r}")
    if found.enabled == enabled:
        raise StateConflictError(f"{slug} is {'enabled' if enabled else 'paused'} already")
    changed = with_target(targets, found.model_copy(update={"enabled": enabled}))
    comment = f"{slug}: {'resumed' if enabled else 'paused'}{'; ' + reason if reason else ''}"
    await web.save(Kind.TARGETS, changed.model_dump(mode="json"), revision.revision, actor, comment)
    return await find(web, slug)


def without(targets: Targets, slug: str) -> Targets:
    """Return the targets without one."""
    return Targets(targets=tuple(item for item in targets.targets if item.slug != slug))
