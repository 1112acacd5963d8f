"""What has lists in it, as one text: quiet periods, late instances, conditions, retention by rule and target."""

import json
from typing import Any

from hermes_common.config import Policies
from hermes_web.errors import FieldProblem, InvalidError

FIELD = "exceptions"
OF_SERIES = ("quiet_periods", "late")
OF_STUDIES = ("then", "conditions")
OF_RETENTION = ("rules", "targets")


def written(document: dict[str, Any]) -> str:
    """Return the part of the policies that the text area shows, as JSON; the default where the document is older."""
    completion = {**Policies().model_dump(mode="json")["completion"], **document.get("completion", {})}
    study = {**Policies().model_dump(mode="json")["completion"]["study"], **completion["study"]}
    shown = {name: completion[name] for name in OF_SERIES}
    retention = {**Policies().model_dump(mode="json")["retention"], **document.get("retention", {})}
    shown["study"] = {name: study[name] for name in OF_STUDIES}
    shown["retention"] = {name: retention[name] for name in OF_RETENTION}
    return json.dumps(shown, indent=2, ensure_ascii=False)


def put(document: dict[str, Any], text: str) -> None:
    """Put what was typed into the policies; an empty text leaves them. Raises :class:`InvalidError`."""
    if not text:
        return
    try:
        typed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(problems=[FieldProblem(FIELD, f"this is not JSON: {error}")]) from error
    study = typed.pop("study", {}) if isinstance(typed, dict) else None
    retention = typed.pop("retention", {}) if isinstance(typed, dict) else None
    if not isinstance(typed, dict) or not isinstance(study, dict) or not isinstance(retention, dict):
        raise InvalidError(problems=[FieldProblem(FIELD, "an object is needed, as it was shown")])
    unknown = typed.keys() - set(OF_SERIES)
    unknown |= {f"study.{name}" for name in study.keys() - set(OF_STUDIES)}
    unknown |= {f"retention.{name}" for name in retention.keys() - set(OF_RETENTION)}
    if unknown:
        words = f"only what was shown can be changed here, not {min(unknown)}"
        raise InvalidError(problems=[FieldProblem(FIELD, words)])
    completion = document.setdefault("completion", {})
    completion.update(typed)
    completion.setdefault("study", {}).update(study)
    document.setdefault("retention", {}).update(retention)
