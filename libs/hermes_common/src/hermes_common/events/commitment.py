"""Events of storage commitment (PS3.4 J)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hermes_common.events.base import Event, Sender, Value
from hermes_common.ids import Slug, Uid


class _Commitment(Event):
    entity: ClassVar[str] = "commitment"

    request_id: str
    transaction_uid: str
    association_id: str
    """The association that the request came on."""
    sender: Sender
    instances: int


class CommitmentRequested(_Commitment):
    """A sender asked whether its instances are durably held; the request is."""

    verb: ClassVar[str] = "requested"


class CommitmentReported(_Commitment):
    """The sender has acknowledged the answer."""

    verb: ClassVar[str] = "reported"

    committed: int
    failed: int
    where: str
    """``same association``, or the address of a new one."""
    attempts: int = 1


class CommitmentFailed(_Commitment):
    """The answer could not be given to the sender, and is not tried again."""

    verb: ClassVar[str] = "failed"

    reason: str
    attempts: int = 0


class NotKept(Value):
    """An instance that a target does not take responsibility for."""

    sop_instance_uid: Uid
    reason: int
    """Failure Reason (0008,1197)."""


class CommitmentAnswered(Event):
    """A target has said which instances of a delivery it takes responsibility for. A large result is said in parts."""

    entity: ClassVar[str] = "commitment"
    verb: ClassVar[str] = "answered"

    transaction_uid: Uid
    delivery_id: str
    target: Slug
    part: Annotated[int, Field(ge=1)] = 1
    parts: Annotated[int, Field(ge=1)] = 1
    committed: Annotated[list[Uid], Field(max_length=500)] = []
    """SOP instance UIDs as they were sent."""
    committed_classes: Annotated[list[Uid | Literal[""]], Field(max_length=500)] = []
    """The SOP class that the target names with each; empty in events of an earlier release."""
    failed: Annotated[list[NotKept], Field(max_length=500)] = []
    where: str = ""
    """``same association``, or the id of the association that the target opened."""

    def token(self) -> str:
        return self.target
