"""Targets: what the API and the pages do alike."""

from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict

from hermes_common.config import AnyTarget, Kind, Pause, Targets
from hermes_common.durations import parse_duration
from hermes_common.previews import Preview, PreviewAsked
from hermes_common.records import TargetRecord
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_common.targettests import TargetTested
from hermes_web.core.configuration import parse_document, with_target
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    MalformedError,
    NotFoundError,
    StateConflictError,
    UnavailableError,
)
from hermes_web.features.targets import queries
from hermes_web.features.targets.queries import Contact
from hermes_web.web import Web

LONGEST_PAUSE: Final = timedelta(days=366)


class EndpointDown(BaseModel):
    """An endpoint that does not pass its test."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    since: datetime
    reason: str


Standing: TypeAlias = Literal["up", "down", "paused", "disabled", "failing", "not_tried", "never_tried", "unknown"]


class TargetState(BaseModel):
    """Whether deliveries are made to a target now; if not, since when and why."""

    model_config = ConfigDict(frozen=True)

    target: str
    state: Literal["up", "down", "paused", "disabled"]
    """``up`` says no more than that no outage is known: see ``standing``."""
    standing: Standing = "unknown"
    """The state; where that is ``up``, what the last deliveries show of it: ``up`` if the last one arrived, ``failing``
    if it did not, ``not_tried`` if there was none since a dispatcher last started, ``never_tried`` if there was none at
    all, ``unknown`` while the history is away.
    """
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
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


def seen(state: TargetState, contact: Contact | None, started_at: datetime | None) -> TargetState:
    """Return the state with what the history shows of the target; ``contact`` is None while the history is away."""
    if contact is None:
        return state.model_copy(update={"standing": state.state if state.state != "up" else "unknown"})
    good, bad = contact.last_success_at, contact.last_failure_at
    last = max((at for at in (good, bad) if at is not None), default=None)
    standing: Standing = state.state
    if state.state == "up":
        if last is None:
            standing = "never_tried"
        elif started_at is not None and last < started_at:
            standing = "not_tried"
        else:
            standing = "up" if last == good else "failing"
    return state.model_copy(update={"standing": standing, "last_success_at": good, "last_failure_at": bad})


async def states(web: Web, targets: Targets) -> dict[str, TargetState]:
    """Return the state of every target, by its slug."""
    outages, at = await web.targets_on_bus.outages(), now()
    down = await web.targets_on_bus.endpoints_down()
    try:
        contacts, started_at = await web.database.run(queries.contacts, [target.slug for target in targets.targets])
    except UnavailableError:
        contacts, started_at = {}, None
    found: dict[str, TargetState] = {}
    for target in targets.targets:
        records = down.get(target.slug, ())
        endpoints = tuple(EndpointDown(endpoint=one.endpoint, since=one.since, reason=one.reason) for one in records)
        state = state_of(target, outages.get(target.slug), at)
        known = seen(state, contacts.get(target.slug), started_at)
        found[target.slug] = known.model_copy(update={"endpoints_down": endpoints})
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
