"""Events of Modality Performed Procedure Step: what a modality says of a step that it performs (PS3.4 F.7)."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from hermes_common.events.base import Event, Sender, Value
from hermes_common.ids import Uid, uid_token

MAX_STUDIES: Final = 100
MAX_SERIES: Final = 1_000
"""Series of one step; a step with more is a device that never ends one."""


class StepStatus(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class PerformedSeries(Value):
    """A series that a step has made, with how many instances it names, each once; 0 and 0 where it names none."""

    series_uid: Uid
    images: Annotated[int, Field(ge=0)]
    """In Referenced Image Sequence (0008,1140)."""
    others: Annotated[int, Field(ge=0)] = 0
    """In Referenced Non-Image Composite SOP Instance Sequence (0040,0220)."""

    @property
    def instances(self) -> int:
        """How many instances it names in all."""
        return self.images + self.others


class _Mpps(Event):
    entity: ClassVar[str] = "mpps"

    sop_instance_uid: Uid
    """Of the step."""
    association_id: str
    sender: Sender
    status: StepStatus
    study_uid: Uid
    """The first of ``studies``."""
    studies: Annotated[list[Uid], Field(min_length=1, max_length=MAX_STUDIES)]
    """Study Instance UIDs of Scheduled Step Attributes Sequence (0040,0270), each once."""
    series: Annotated[list[PerformedSeries], Field(max_length=MAX_SERIES)] = []
    """Performed Series Sequence (0040,0340), as it is after this."""
    modality: str = ""
    change: Annotated[int, Field(ge=1)] = 1
    """1 when the step is created; each N-SET that is accepted counts one more."""

    def token(self) -> str:
        return uid_token(self.study_uid)


class MppsCreated(_Mpps):
    """A step was begun (N-CREATE)."""

    verb: ClassVar[str] = "created"


class MppsSet(_Mpps):
    """Something of a step has changed, or it has ended (N-SET)."""

    verb: ClassVar[str] = "set"
