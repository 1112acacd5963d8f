"""What people do about alerts: see to them, silence them, change whom they are told."""

import secrets
from datetime import timedelta

from hermes_common.alerting import Alerting, AlertKind, AnyChannel, Silence
from hermes_common.channels import ChannelTested
from hermes_common.config import Kind
from hermes_common.durations import parse_duration
from hermes_common.events import AlertCleared
from hermes_common.ids import derived_id
from hermes_common.runtime.clock import now
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, StateConflictError, UnavailableError
from hermes_web.features.alerts.queries import ChannelState, channel_states, get_alert
from hermes_web.web import Web

BY_ITSELF = {
    "commitment_failed": "restart the delivery (what the target does not keep is sent again) or dismiss it",
    "delivery_failed": "restart, cancel or dismiss the delivery",
    "endpoint_down": "it clears when the endpoint answers again",
    "store_full": "it clears when the object store is below its limit again",
    "study_held": "complete or discard the study",
    "target_down": "it clears when the target answers again",
    AlertKind.QUEUE_LATE.value: "it clears when nothing waits for that long",
    AlertKind.SOURCE_SILENT.value: "it clears when the sender sends, or when it is no longer watched, under Conditions",
    AlertKind.SPOOL_FILLING.value: "it clears when there is room again",
    AlertKind.DISK_FILLING.value: "it clears when there is room again",
    AlertKind.SERVICE_MISSING.value: "it clears when the service answers",
    AlertKind.QUARANTINED.value: "it clears an hour after the last instance",
    AlertKind.CHANNEL_FAILING.value: "it clears when messages are taken again",
}
"""Kinds that are over with what they were raised for, and what makes that so."""

LONGEST_SILENCE = timedelta(days=366)


async def clear(web: Web, alert_id: str, actor: str, reason: str) -> None:
    """Publish that an alert is over. Raises what says why not."""
    if len(reason) > 2000:
        raise InvalidError(problems=[FieldProblem("reason", "at most 2000 characters")])
    alert = await web.database.run(get_alert, alert_id)
    if alert is None:
        raise NotFoundError(f"no alert {alert_id[:64]!r} is known")
    if alert.cleared_at is not None:
        raise StateConflictError("the alert is cleared already")
    if (instead := BY_ITSELF.get(alert.kind)) is not None:
        raise StateConflictError(f"an alert of this kind is not cleared by hand: {instead}")
    event = AlertCleared(alert_id=alert.alert_id, kind=alert.kind, about=alert.about, reason=reason, actor=actor)
    await web.bus.publish(event, derived_id("alert.cleared", alert.alert_id))


async def silence(web: Web, kind: AlertKind | None, about: str, reason: str, span: str, actor: str) -> Silence:
    """Tell nobody of some alerts for a while: a new revision of the document. Raises what says why not."""
    problems = []
    if not reason:
        problems.append(FieldProblem("reason", "say why, for those who come after"))
    if kind is None and not about:
        problems.append(FieldProblem("about", "choose a kind, or say what it is about, or both"))
    try:
        lasting = parse_duration(span)
        if not timedelta(minutes=1) <= lasting <= LONGEST_SILENCE:
            problems.append(FieldProblem("for", "between 1m and 366d"))
    except ValueError as error:
        lasting = timedelta(0)
        problems.append(FieldProblem("for", str(error)))
    if len(reason) > 500 or len(about) > 200:
        problems.append(FieldProblem("reason", "at most 500 characters for the reason, 200 for what it is about"))
    if problems:
        raise InvalidError(problems=problems)
    revision, alerting = await web.alerting()
    at = now()
    slug = f"s-{secrets.token_hex(4)}"
    made = Silence(slug=slug, kind=kind, about=about, reason=reason, since=at, until=at + lasting, actor=actor)
    kept = [item for item in alerting.silences if item.until > at]
    changed = alerting.model_copy(update={"silences": (*kept, made)})
    words = " ".join(part for part in (kind.value if kind else "", about) if part)
    await web.save(Kind.ALERTING, changed, revision.revision, actor, f"silence {words}: {reason}"[:2000])
    return made


async def end_silence(web: Web, slug: str, actor: str) -> None:
    """End a silence: what is still open is told within a minute."""
    revision, alerting = await web.alerting()
    kept = tuple(item for item in alerting.silences if item.slug != slug)
    if len(kept) == len(alerting.silences):
        raise NotFoundError(f"there is no silence {slug[:64]!r}; it may be over")
    changed = alerting.model_copy(update={"silences": kept})
    await web.save(Kind.ALERTING, changed, revision.revision, actor, f"silence {slug} ended")


async def find_channel(web: Web, slug: str) -> AnyChannel:
    """Return a channel; raise :class:`NotFoundError`."""
    found = (await web.alerting())[1].channel(slug)
    if found is None:
        raise NotFoundError(f"there is no channel {slug[:64]!r}")
    return found


async def test_channel(web: Web, slug: str, actor: str) -> ChannelTested:
    """Have a bookkeeper send a test over a channel as it is saved."""
    return await web.channels_on_bus.test((await find_channel(web, slug)).slug, actor)


async def states(web: Web) -> dict[str, ChannelState] | None:
    """Return what became of the messages over each channel; None while the history is away."""
    try:
        return await web.database.run(channel_states)
    except UnavailableError:
        return None


def with_channel(alerting: Alerting, channel: AnyChannel) -> Alerting:
    """Return the document with a channel added, or put in the place of the one of the same slug."""
    others = [item for item in alerting.channels if item.slug != channel.slug]
    places = [item.slug for item in alerting.channels]
    at = places.index(channel.slug) if channel.slug in places else len(others)
    return alerting.model_copy(update={"channels": (*others[:at], channel, *others[at:])})


def without_channel(alerting: Alerting, slug: str) -> Alerting:
    """Return the document without a channel."""
    return alerting.model_copy(update={"channels": tuple(item for item in alerting.channels if item.slug != slug)})
