"""Targets: what the API and the pages do alike."""

from datetime import datetime
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from hermes_common.config import AnyTarget, Kind, Pause, Targets
from hermes_common.previews import Preview, PreviewAsked
from hermes_common.records import TargetRecord
from hermes_common.runtime.clock import now
from hermes_common.targettests import TargetTested
from hermes_web.core.configuration import parse_document, with_target
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, StateConflictError
from hermes_web.features.targets import queries
from hermes_web.web import Web


class TargetState(BaseModel):
    """Whether deliveries are made to a target now; if not, since when and why."""

    model_config = ConfigDict(frozen=True)

    target: str
    state: Literal["up", "down", "paused", "disabled"]
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    actor: str = ""


def state_of(target: AnyTarget, outage: TargetRecord | None, at: datetime) -> TargetState:
    """Return the state of a target. A person's word comes before what the dispatchers found."""
    pause = target.pause
    if not target.enabled:
        return TargetState(target=target.slug, state="disabled")
    if pause is not None and target.is_paused(at):
        return TargetState(
            target=target.slug,
            state="paused",
            since=pause.since,
            until=pause.until,
            reason=pause.reason,
            actor=pause.actor,
        )
    if outage is not None:
        return TargetState(target=target.slug, state="down", since=outage.since, reason=outage.reason)
    return TargetState(target=target.slug, state="up")


async def states(web: Web, targets: Targets) -> dict[str, TargetState]:
    """Return the state of every target, by its slug."""
    outages, at = await web.targets_on_bus.outages(), now()
    return {target.slug: state_of(target, outages.get(target.slug), at) for target in targets.targets}


async def find(web: Web, slug: str) -> AnyTarget:
    """Return a target; raise :class:`NotFoundError`."""
    found = (await web.targets())[1].get(slug)
    if found is None:
        raise NotFoundError(f"there is no target {slug!r}")
    return found


async def test(web: Web, slug: str) -> TargetTested:
    """Have a dispatcher test a target: it stands where deliveries are sent from."""
    return await web.targets_on_bus.test((await find(web, slug)).slug)


def parsed(document: dict[str, Any]) -> Targets:
    """Return the targets document with one target of that document; raise :class:`InvalidError`."""
    return cast(Targets, parse_document(Kind.TARGETS, {"targets": [document]}))


async def preview(web: Web, target: AnyTarget, series_uid: str, sop_instance_uid: str = "") -> Preview:
    """Have a dispatcher show what would be sent to a target instead of an instance of a stored series.

    ``target`` may be one that is not saved. Raises :class:`NotFoundError` or :class:`InvalidError`.
    """
    instance = await web.database.run(queries.stored_instance, series_uid, sop_instance_uid)
    _, present = await web.targets()
    (sealed,) = web.sealed(Targets(targets=(target,)), present).targets
    asked = PreviewAsked(target=sealed.model_dump(mode="json"), series_uid=series_uid, instance=instance)
    return await web.targets_on_bus.preview(asked)


async def pause(web: Web, slug: str, actor: str, reason: str, until: datetime | None) -> AnyTarget:
    """Have nothing sent to a target until it is resumed, or until then: a new revision of the targets."""
    revision, targets = await web.targets()
    found = targets.get(slug)
    if found is None:
        raise NotFoundError(f"there is no target {slug!r}")
    at = now()
    if found.is_paused(at):
        raise StateConflictError(f"{slug} is {'paused' if found.enabled else 'disabled'} already")
    if until is not None and until <= at:
        raise InvalidError(problems=[FieldProblem("until", "the end of the pause has passed already")])
    changed = found.model_copy(update={"pause": Pause(since=at, until=until, reason=reason, actor=actor)})
    comment = f"{slug}: paused{'; ' + reason if reason else ''}"
    await web.save(Kind.TARGETS, with_target(targets, changed), revision.revision, actor, comment)
    return changed


async def resume(web: Web, slug: str, actor: str, reason: str) -> AnyTarget:
    """Send to a target again: a new revision of the targets."""
    revision, targets = await web.targets()
    found = targets.get(slug)
    if found is None:
        raise NotFoundError(f"there is no target {slug!r}")
    if not found.is_paused(now()):
        raise StateConflictError(f"{slug} is not paused")
    changed = found.model_copy(update={"pause": None, "enabled": True})
    comment = f"{slug}: resumed{'; ' + reason if reason else ''}"
    await web.save(Kind.TARGETS, with_target(targets, changed), revision.revision, actor, comment)
    return changed


def without(targets: Targets, slug: str) -> Targets:
    """Return the targets without one."""
    return Targets(targets=tuple(item for item in targets.targets if item.slug != slug))
