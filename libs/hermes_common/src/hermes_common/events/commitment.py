"""Events of storage commitment (PS3.4 J)."""

from typing import ClassVar

from hermes_common.events.base import Event, Sender


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
