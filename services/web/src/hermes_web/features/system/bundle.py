"""The diagnostics bundle: what somebody who helps needs to see, and neither a secret nor anything about a patient.

What goes in is named field by field. Free text stays out, whoever wrote it: names, comments and expressions of rules
may speak of patients, and what peers answer may hold anything.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final, assert_never

from pydantic import BaseModel, SecretStr

from hermes_common.alerting import Alerting
from hermes_common.config import Kind, Policies, RuleSet, Sources, Targets
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_web.features.status.service import status_of
from hermes_web.features.system.service import System, system_of
from hermes_web.settings import Settings
from hermes_web.web import Web

README: Final = """Diagnostics of a Hermes installation.

system.json         services, streams, disks, versions, what is kept
status.json         what waits for each target, problems and alerts by kind
configuration.json  the revision of each document, and what of it is no free text
settings.json       the environment of the web service, without its secrets
log.txt             the last messages of the web service, without the values in them

There are no secrets in it and nothing about patients: no names, no descriptions, no UIDs, no expressions of rules.
"""
_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.RULES: ("slug", "state", "scope", "targets", "priority", "fallback", "action", "then"),
    Kind.TARGETS: ("slug", "kind", "enabled", "retry"),
    Kind.SOURCES: ("slug", "allow", "calling_aet", "called_aet", "network"),
}


async def make_bundle(web: Web) -> tuple[str, bytes]:
    """Return the name and the bytes of a ZIP file."""
    at = now()
    files = {
        "README.txt": README,
        "system.json": _json(_system(await system_of(web))),
        "status.json": _json(await _status(web)),
        "configuration.json": _json(await _configuration(web)),
        "settings.json": _json(plain_settings(web.settings)),
        "log.txt": "\n".join(web.recent.lines()) + "\n",
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return f"hermes-diagnostics-{at:%Y%m%d-%H%M%S}.zip", made.getvalue()


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return every setting, of a secret only whether it is there."""
    return {name: _shown(getattr(settings, name)) for name in type(settings).model_fields}


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else "(empty)"
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _system(system: System) -> dict[str, Any]:
    """Return the state; of what services find wrong only where, because the words may quote a peer."""
    found = system.model_dump(mode="json")
    for process in found["processes"] or ():
        process["checks"] = {name: word if word == "ok" else "not ok" for name, word in process["checks"].items()}
    return found


async def _status(web: Web) -> dict[str, Any]:
    status = await status_of(web)
    alerts: dict[str, int] = {}
    for alert in status.alerts or ():
        alerts[alert.kind] = alerts.get(alert.kind, 0) + 1
    return {
        "fine": status.fine,
        "problems": len(status.problems),
        "open_alerts_by_kind": alerts,
        "queues": [queue.model_dump(mode="json") for queue in status.queues or ()],
        "last_hour": None if status.last_hour is None else status.last_hour.model_dump(mode="json"),
        "last_day": None if status.last_day is None else status.last_day.model_dump(mode="json"),
        "services": [
            item.model_dump(mode="json", include={"service", "instance", "version", "state", "answers", "started_at"})
            for item in status.services
        ],
    }


async def _configuration(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in Kind:
        try:
            revision = await web.config.current(kind)
            parsed = revision.parsed()
        except (TransientError, ValueError):
            found[kind.value] = "cannot be read"
            continue
        document: Any
        match parsed:
            case RuleSet():
                document = [_part(item, kind) for item in parsed.rules]
            case Targets():
                document = [_part(item, kind) for item in parsed.targets]
            case Sources():
                document = [_part(item, kind) for item in parsed.sources]
            case Policies():
                document = parsed.model_dump(mode="json", include={"completion", "retention", "off_peak", "extra_tags"})
                document["completion"].pop("study", None)
            case Alerting():
                document = _alerting(parsed)
            case _:
                assert_never(parsed)
        found[kind.value] = {"revision": revision.revision, "time": revision.time.isoformat(), "document": document}
    return found


def _alerting(found: Alerting) -> dict[str, Any]:
    """Return what is said of alerts without whom they are told, and without senders."""
    return {
        "conditions": found.conditions.model_dump(mode="json", exclude={"silent": {"senders"}}),
        "channels": [
            item.model_dump(mode="json", include={"slug", "kind", "enabled", "severity"}) for item in found.channels
        ],
        "silences": len(found.silences),
    }


def _part(item: BaseModel, kind: Kind) -> dict[str, Any]:
    return item.model_dump(mode="json", include=set(_FIELDS[kind]))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str)
