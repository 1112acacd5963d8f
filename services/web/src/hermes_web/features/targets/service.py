"""Targets: what the API and the pages do alike."""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from hermes_common.config import AnyTarget, Kind, Pause, Targets
from hermes_common.durations import parse_duration
from hermes_common.records import TargetRecord
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_common.targettests import TargetTested
from hermes_web.core.configuration import with_target
from hermes_web.errors import FieldProblem, InvalidError, MalformedError, NotFoundError, StateConflictError
from hermes_web.web import Web

LONGEST_PAUSE: Final = timedelta(days=366)


class EndpointDown(BaseModel):
    """An endpoint that does not pass its test."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    since: datetime
    reason: str


class TargetState(BaseModel):
    """Whether deliveries are made to a target now; if not, since when and why."""

    model_config = ConfigDict(frozen=True)

    target: str
    state: Literal["up", "down", "paused", "disabled"]
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    actor: str = ""
    endpoints_down: tuple[EndpointDown, ...] = ()
    """Of a target that has several endpoints: those that are left out until they answer."""


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
    down = await web.targets_on_bus.endpoints_down()
    found: dict[str, TargetState] = {}
    for target in targets.targets:
        records = down.get(target.slug, ())
        endpoints = tuple(EndpointDown(endpoint=one.endpoint, since=one.since, reason=one.reason) for one in records)
        state = state_of(target, outages.get(target.slug), at)
        found[target.slug] = state.model_copy(update={"endpoints_down": endpoints})
    return found


async def find(web: Web, slug: str) -> AnyTarget:
    """Return a target; raise :class:`NotFoundError`."""
    found = (await web.targets())[1].get(slug)
    if found is None:
        raise NotFoundError(f"there is no target {slug!r}")
    return found


async def known_targets(web: Web) -> list[AnyTarget]:
    """Return the targets, or none while the configuration cannot be read: for choices on pages about other things."""
    try:
        return list((await web.targets())[1].targets)
    except (TransientError, MalformedError):
        return []


async def test(web: Web, slug: str) -> TargetTested:
    """Have a dispatcher test a target: it stands where deliveries are sent from."""
    return await web.targets_on_bus.test((await find(web, slug)).slug)


def end_of_pause(span: str) -> datetime | None:
    """Return when a pause of that span ends, None for an empty one; raise :class:`InvalidError`."""
    if not span:
        return None
    try:
        found = parse_duration(span)
    except ValueError as error:
        raise InvalidError(problems=[FieldProblem("for", str(error))]) from error
    if not timedelta(0) < found <= LONGEST_PAUSE:
        raise InvalidError(problems=[FieldProblem("for", "between 1s and 366d")])
    return now() + found


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
