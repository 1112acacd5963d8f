"""What has lists in it, as one text: quiet periods of sources and modalities, late instances, conditions of studies."""

import json
from typing import Any

from hermes_common.config import Policies
from hermes_web.errors import FieldProblem, InvalidError

FIELD = "exceptions"
OF_SERIES = ("quiet_periods", "late")
OF_STUDIES = ("then", "conditions")


def written(document: dict[str, Any]) -> str:
    """Return the part of the policies that the text area shows, as JSON; the default where the document is older."""
    completion = {**Policies().model_dump(mode="json")["completion"], **document.get("completion", {})}
    study = {**Policies().model_dump(mode="json")["completion"]["study"], **completion["study"]}
    shown = {name: completion[name] for name in OF_SERIES}
    return json.dumps({**shown, "study": {name: study[name] for name in OF_STUDIES}}, indent=2, ensure_ascii=False)


def put(document: dict[str, Any], text: str) -> None:
    """Put what was typed into the policies; an empty text leaves them. Raises :class:`InvalidError`."""
    if not text:
        return
    try:
        typed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(problems=[FieldProblem(FIELD, f"this is not JSON: {error}")]) from error
    study = typed.pop("study", {}) if isinstance(typed, dict) else None
    if not isinstance(typed, dict) or not isinstance(study, dict):
        raise InvalidError(problems=[FieldProblem(FIELD, "an object is needed, as it was shown")])
    unknown = sorted((typed.keys() - set(OF_SERIES)) | {f"study.{name}" for name in study.keys() - set(OF_STUDIES)})
    if unknown:
        raise InvalidError(problems=[FieldProblem(FIELD, f"only what was shown can be changed here, not {unknown[0]}")])
    completion = document.setdefault("completion", {})
    completion.update(typed)
    completion.setdefault("study", {}).update(study)
