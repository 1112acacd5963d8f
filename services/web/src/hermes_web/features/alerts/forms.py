"""The forms of channels and conditions: what is typed into them, and the document that this makes.

A secret is never put into a page: an empty field keeps what is there.
"""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from hermes_common.alerting import Alerting, AnyChannel, AppriseChannel, Channel, WebhookChannel
from hermes_common.alerttexts import BODY, TITLE
from hermes_common.durations import format_duration
from hermes_common.secrets import mark_of
from hermes_common.targets import secrets_of
from hermes_web.core.configuration import problems_of
from hermes_web.errors import FieldProblem, InvalidError
from hermes_web.features.rules.forms import slug_of
from hermes_web.http.forms import Form

_CHANNEL: TypeAdapter[AnyChannel] = TypeAdapter(Channel)

KINDS = {"apprise": "channel by Apprise", "webhook": "webhook"}
SECRETS = {"apprise": ("url",), "webhook": ("key",)}

CONDITIONS = {
    "queue_age": ("A delivery has waited for", "That could be made: paused targets and off-peak hours do not count."),
    "service_missing": ("No process of a service has answered for", "Such as 1m."),
    "spool_used": (
        "A receiver's spool is filled to (percent)",
        "Of its limit; a full one refuses instances.",
    ),
    "disk_free": ("A volume has left (percent)", "Of the spool, or of an object store that is a folder."),
    "quarantine": ("Instances of one sender in quarantine within an hour", "1 for each."),
}
NUMBERS = ("spool_used", "disk_free", "quarantine")


def new_values(kind: str) -> dict[str, Any]:
    """Return the form's values for a new channel."""
    empty = dict.fromkeys(("slug", "name", "url", "rules", "reminder", "comment", "quiet.start", "quiet.end"), "")
    chosen = {"enabled": True, "recovery": True, "kinds": (), "severity": "warning", "quiet.timezone": "UTC"}
    return {
        "kind": kind,
        **empty,
        **chosen,
        "title": TITLE,
        "body": BODY,
        "secret": dict.fromkeys(SECRETS[kind], False),
    }


def values_of(channel: AnyChannel) -> dict[str, Any]:
    """Return the form's values for a channel; of a secret, whether there is one."""
    quiet = channel.quiet
    return {
        "kind": channel.kind,
        "slug": channel.slug,
        "name": channel.name,
        "enabled": channel.enabled,
        "url": channel.url if isinstance(channel, WebhookChannel) else "",
        "secret": {name: name in secrets_of(channel) for name in SECRETS[channel.kind]},
        "kinds": tuple(kind.value for kind in channel.kinds),
        "severity": channel.severity.value,
        "rules": ", ".join(channel.rules),
        "recovery": channel.recovery,
        "reminder": "" if channel.reminder is None else format_duration(channel.reminder),
        "quiet.start": "" if quiet is None else f"{quiet.start:%H:%M}",
        "quiet.end": "" if quiet is None else f"{quiet.end:%H:%M}",
        "quiet.timezone": "UTC" if quiet is None else quiet.timezone,
        "title": channel.title,
        "body": channel.body,
        "comment": channel.comment,
    }


def typed_values(form: Form, kind: str, known: AnyChannel | None) -> dict[str, Any]:
    """Return the form's values as they were typed, to show them again; no secret is among them."""
    texts = ("name", "rules", "reminder", "severity", "quiet.start", "quiet.end", "quiet.timezone", "title", "comment")
    values: dict[str, Any] = {name: form.text(name) for name in texts}
    kept = {} if known is None else secrets_of(known)
    return {
        **values,
        "kind": kind,
        "slug": form.text("slug") or slug_of(form.text("name")),
        "enabled": form.checked("enabled"),
        "recovery": form.checked("recovery"),
        "kinds": tuple(form.all("kinds")),
        "url": form.text("url") if kind == "webhook" else "",
        "body": form.lines("body"),
        "secret": {name: name in kept for name in SECRETS[kind]},
    }


def made_of(form: Form, values: dict[str, Any], known: AnyChannel | None) -> AnyChannel:
    """Return the channel that a form describes; raise :class:`InvalidError` that names the form's fields."""
    kind = str(values["kind"])
    kept = {} if known is None else secrets_of(known)
    document: dict[str, Any] = {
        name: values[name]
        for name in ("kind", "slug", "name", "enabled", "kinds", "severity", "recovery", "title", "body", "comment")
    }
    for name in SECRETS[kind]:
        typed = form.raw(name).strip()
        mark = mark_of(kept[name].get_secret_value()) if name in kept else ""
        document[name] = "" if form.checked(f"{name}.remove") else typed or mark
    if kind == "webhook":
        document["url"] = values["url"]
    document["rules"] = [item.strip() for item in values["rules"].split(",") if item.strip()]
    document["reminder"] = values["reminder"] or None
    if values["quiet.start"] or values["quiet.end"]:
        quiet = {name: values[f"quiet.{name}"] for name in ("start", "end")}
        document["quiet"] = {**quiet, "timezone": values["quiet.timezone"] or "UTC"}
    try:
        return _CHANNEL.validate_python(document)
    except ValidationError as error:
        raise InvalidError(problems=problems_of(error)) from error


def where(channel: AnyChannel) -> str:
    """Return where a channel goes, as far as that is no secret."""
    match channel:
        case AppriseChannel():
            return "an address that is kept sealed"
        case WebhookChannel():
            return channel.url


def condition_values(alerting: Alerting) -> dict[str, Any]:
    """Return the values of the form of conditions."""
    document = alerting.conditions.model_dump(mode="json")
    values = {name: "" if document[name] is None else document[name] for name in CONDITIONS}
    silent = document["silent"]
    lines = [f"{item['calling_aet']} = {item['after'] or 'never'}" for item in silent["senders"]]
    return {
        **values,
        "site": alerting.site,
        "address": alerting.address,
        "silent.learned": silent["learned"],
        "silent.factor": f"{silent['factor']:g}",
        "silent.at_least": silent["at_least"],
        "silent.timezone": silent["timezone"],
        "silent.senders": "\n".join(lines),
    }


def typed_conditions(form: Form) -> dict[str, Any]:
    """Return the values as they were typed."""
    names = (*CONDITIONS, "site", "address", "silent.factor", "silent.at_least", "silent.timezone")
    values: dict[str, Any] = {name: form.text(name) for name in names}
    return {**values, "silent.learned": form.checked("silent.learned"), "silent.senders": form.lines("silent.senders")}


def with_conditions(alerting: Alerting, values: dict[str, Any]) -> dict[str, Any]:
    """Return the document with what was typed; what cannot be read is found when it is checked."""
    conditions = {name: values[name] or None for name in CONDITIONS}
    conditions["silent"] = {
        "learned": values["silent.learned"],
        "factor": values["silent.factor"],
        "at_least": values["silent.at_least"],
        "timezone": values["silent.timezone"],
        "senders": [_sender(line) for line in values["silent.senders"].splitlines() if line.strip()],
    }
    document = alerting.model_dump(mode="json")
    return {**document, "site": values["site"], "address": values["address"], "conditions": conditions}


def _sender(line: str) -> dict[str, Any]:
    aet, equals, after = line.rpartition("=")
    if not equals:
        message = f"{line.strip()[:40]!r}: write an AE title, =, and a span of time or never, such as CT1 = 4h"
        raise InvalidError(problems=[FieldProblem("silent.senders", message)])
    return {"calling_aet": aet.strip(), "after": None if after.strip().lower() == "never" else after.strip()}
