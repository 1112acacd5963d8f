"""The preview of a target's changes: asked by the web service, made by a dispatcher on one stored instance."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.ids import Uid
from hermes_common.manifest import ManifestInstance

ASK: Final = "hermes.ask.target.preview"
"""Subject of the request; a dispatcher answers with :class:`Preview`."""
MOST_LINES: Final = 400
"""Differences that are shown: an answer has to fit a message of the bus (1 MB)."""
LONGEST_VALUE: Final = 120
"""Characters of a value that are shown."""


class PreviewAsked(BaseModel):
    """A request: the target as it is stored or as it would be, its secrets sealed, and an instance."""

    model_config = ConfigDict(frozen=True)

    target: dict[str, Any]
    series_uid: Uid
    instance: ManifestInstance


class Difference(BaseModel):
    """One attribute before and after; None where it is not there. Long values are cut."""

    model_config = ConfigDict(frozen=True)

    name: str
    vr: str
    before: str | None
    after: str | None


class Preview(BaseModel):
    """What would be sent instead of an instance, or why nothing would."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    reason: str = ""
    """Why it cannot be changed as the target asks: it would not be sent."""
    sop_instance_uid: str
    transfer_syntax_uid: str = ""
    """In which it would be sent, unless the target negotiates another one."""
    differences: Annotated[list[Difference], Field(max_length=MOST_LINES)] = []
    changed: int = 0
    """Attributes that differ, those left off included."""
    same: int = 0
    """Attributes that stay as they are."""
    dispatcher: str = ""
