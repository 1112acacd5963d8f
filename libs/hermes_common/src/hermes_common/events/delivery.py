"""Events of deliveries: one batch of a series to one target."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hermes_common.config import Priority
from hermes_common.events.base import Event, SeriesRef, Time, Value
from hermes_common.ids import Slug, Uid


class _DeliveryEvent(Event, SeriesRef):
    entity: ClassVar[str] = "delivery"

    delivery_id: str
    batch_id: str
    target: Slug

    def token(self) -> str:
        return self.target


class DeliveryQueued(_DeliveryEvent):
    """A delivery was planned and waits for its turn."""

    verb: ClassVar[str] = "queued"

    manifest_key: str
    instances: int
    octets: int
    priority: Priority = Priority.NORMAL
    rules: list[Slug] = []
    actor: str = ""


class DeliveryStarted(_DeliveryEvent):
    """An attempt began. ``missing`` instances have not been delivered by an earlier one."""

    verb: ClassVar[str] = "started"

    attempt: Annotated[int, Field(ge=1)]
    missing: int
    dispatcher: str
    endpoint: str = ""
    """Where it goes: the address, in one line."""


class SentAs(Value):
    """What was sent instead of what was received, because the target has it changed on the way."""

    sop_instance_uid: Uid
    series_uid: Uid
    study_uid: Uid
    transfer_syntax_uid: str
    digest: str
    """Hexadecimal SHA-256 of the data set that was sent."""


class InstanceOutcome(Value):
    """What one attempt came to for one instance. ``delivered`` is said only if the target said so of this instance."""

    index: Annotated[int, Field(ge=0)]
    """Position in the manifest, from 0."""
    sop_instance_uid: Uid
    result: Literal["delivered", "failed"]
    status: int | None = None
    """DIMSE status that the target gave, where it gave one."""
    reason: str = ""
    at: Time
    sent: SentAs | None = None
    """What the outcome is about, if it is not the very instance that was received."""


class DeliveryProgressed(_DeliveryEvent):
    """Some instances of an attempt have an outcome."""

    verb: ClassVar[str] = "progressed"

    attempt: Annotated[int, Field(ge=1)]
    outcomes: Annotated[list[InstanceOutcome], Field(min_length=1, max_length=500)]


class DeliverySucceeded(_DeliveryEvent):
    """The target has said of every instance that it has it."""

    verb: ClassVar[str] = "succeeded"

    attempt: Annotated[int, Field(ge=1)]
    instances: int


class _Unfinished(_DeliveryEvent):
    attempt: Annotated[int, Field(ge=0)]
    missing: int
    reason: str


class DeliveryRetrying(_Unfinished):
    """An attempt left instances behind; the next one comes at ``next_attempt_at``."""

    verb: ClassVar[str] = "retrying"

    next_attempt_at: Time


class DeliveryWaiting(_Unfinished):
    """An attempt ended because the target is down: it counts for nothing, and the delivery waits for the target."""

    verb: ClassVar[str] = "waiting"


class DeliveryFailed(_Unfinished):
    """The last attempt left instances behind: the images stay until a person restarts or dismisses the delivery."""

    verb: ClassVar[str] = "failed"


class DeliveryCommitmentRequested(_DeliveryEvent):
    """The target has taken a request for storage commitment of all instances that it has not committed to yet."""

    verb: ClassVar[str] = "commitment_requested"

    transaction_uid: Uid
    instances: int
    tries: Annotated[int, Field(ge=1)]


class DeliveryCommitted(_DeliveryEvent):
    """The target has taken responsibility for every instance."""

    verb: ClassVar[str] = "committed"

    transaction_uid: Uid
    instances: int


class Uncommitted(Value):
    """An instance that was delivered, and that the target does not take responsibility for."""

    index: Annotated[int, Field(ge=0)]
    """Position in the manifest, from 0."""
    sop_instance_uid: Uid
    code: int
    """Failure Reason (0008,1197)."""
    reason: str


class DeliveryUncommitted(_DeliveryEvent):
    """The target has not taken responsibility for every instance, and is not asked again by itself."""

    verb: ClassVar[str] = "uncommitted"

    transaction_uid: str
    """Of the last request; empty if none was made."""
    committed: int
    """Instances that it does take responsibility for."""
    refused: int
    """Instances of which it said that it does not; of the others it said nothing."""
    reason: str
    failures: Annotated[list[Uncommitted], Field(max_length=500)] = []
    """The first of those that were refused."""


class _ByAPerson(_DeliveryEvent):
    actor: str
    reason: str = ""


class DeliveryCancelled(_ByAPerson):
    """A person stopped a delivery before it was done. Nothing of it is sent after this was said."""

    verb: ClassVar[str] = "cancelled"

    rerouted_to: Slug | None = None
    """The target that its batch goes to instead."""


class DeliveryHeld(_ByAPerson):
    """A person has a delivery wait. Nothing of it is sent after this was said, until it is released."""

    verb: ClassVar[str] = "held"


class DeliveryReleased(_ByAPerson):
    """A person lets a delivery that was held go on."""

    verb: ClassVar[str] = "released"


class DeliveryRestarted(_ByAPerson):
    """A person asked for a delivery to be made again: what is missing, or all of it."""

    verb: ClassVar[str] = "restarted"

    scope: Literal["missing", "all"] = "missing"
    bulk: str = ""
    """Id of the bulk action that it is a part of; empty if it is of none."""


class DeliveryDismissed(_ByAPerson):
    """A person said that a failed delivery needs nothing more: its retention begins."""

    verb: ClassVar[str] = "dismissed"
