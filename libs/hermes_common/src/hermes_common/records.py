"""The live records: small documents in the bucket ``hermes_state``, changed by compare-and-set.

A record is the point at which something becomes so. Whoever changes one publishes the events that say so *afterwards*,
under ids derived from the record, and does so again whenever it finds the work unfinished: what was decided once is
said at least once, and counts once.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.config import Priority
from hermes_common.events.base import Time
from hermes_common.ids import Slug, Uid


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeliveryState(StrEnum):
    """The states of a delivery. Every one is either at work, waiting for a time, or ended."""

    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DISMISSED = "dismissed"


DONE = frozenset({DeliveryState.SUCCEEDED, DeliveryState.CANCELLED, DeliveryState.DISMISSED})
"""States that let the retention of the series begin. A failed delivery does not: it waits for a person."""

ENDED = DONE | {DeliveryState.FAILED}
"""States in which nothing more happens by itself."""


class Lease(_Record):
    """Who works on a delivery, and until when nobody else may."""

    owner: str
    until: Time


class DeliveryRecord(_Record):
    """One batch of a series to one target. Created by the router, changed by the dispatcher."""

    delivery_id: str
    series_uid: Uid
    study_uid: Uid
    batch_id: str
    target: Slug
    manifest_key: str
    instances: int
    octets: int
    priority: Priority = Priority.NORMAL
    rules: tuple[Slug, ...] = ()
    state: DeliveryState = DeliveryState.QUEUED
    generation: int = 0
    """How often a person has restarted it; part of the ids of what is said about it."""
    attempt: int = 0
    """Attempts begun in all."""
    tries: int = 0
    """Attempts begun since it was created or last restarted; the retry policy counts these."""
    delivered: str = ""
    """Positions in the manifest that the target has said it has (``hermes_common.ranges``)."""
    refused: str = ""
    """Positions that the target has refused for good since the delivery was created or last restarted (ranges)."""
    refusal: str = ""
    """In which words it refused the first of them."""
    interruptions: int = 0
    """Dispatchers that ended in the middle of this try without a trace of progress."""
    lease: Lease | None = None
    next_attempt_at: Time | None = None
    reason: str = ""
    """Why the last attempt left something behind."""
    actor: str = ""
    """Who last restarted, cancelled or dismissed it."""
    commands: tuple[str, ...] = ()
    """Ids of the last commands carried out (bounded), so that none is carried out twice."""
    created_at: Time
    updated_at: Time


class HeldRecord(_Record):
    """Where the newest reception of an instance is stored. Written by the receiver that stored it, beside the event
    that says so; whether the object is still there, the store says.
    """

    sop_class_uid: str
    series_uid: Uid
    key: str


class SeriesState(StrEnum):
    """Whether a series may still be worked on."""

    OPEN = "open"
    DELETING = "deleting"
    DELETED = "deleted"


class BatchRef(_Record):
    """One batch of a series, as decided."""

    batch_id: str
    batch: Annotated[int, Field(ge=1)]
    manifest_key: str
    decision_key: str
    instances: int
    octets: int
    through_seq: int
    outcome: Literal["routed", "unmatched", "discarded", "duplicates"]
    """``duplicates``: nothing new came, and nothing was to be decided."""
    more_decisions: tuple[str, ...] = ()
    """Keys of the decisions that people's commands led to, in their order."""
    deliveries: tuple[str, ...] = ()
    """Ids of the deliveries made of it, by rules or by hand."""
    decided_at: Time
    said: bool = False
    """Whether everything that follows from the decision has been published."""


class PendingCommand(_Record):
    """A command that changed the record, and whose consequences may not all have been published yet."""

    command_id: str
    decision_key: str


class SeriesRecord(_Record):
    """What the router knows of a series. Changed by the router; the cleaner changes ``state`` and removes."""

    series_uid: Uid
    study_uid: Uid
    state: SeriesState = SeriesState.OPEN
    sealed: bool = False
    """While deleting: the deliveries were looked at after the mark and are done, so objects may be removed."""
    through_seq: int = 0
    """Sequence in the event stream up to which receptions are accounted for in batches."""
    batches: tuple[BatchRef, ...] = ()
    commands: tuple[str, ...] = ()
    """Ids of the last commands carried out (bounded), so that none is carried out twice."""
    pending: PendingCommand | None = None
    done_at: Time | None = None
    """When the cleaner saw everything about the series done; its retention counts from then."""
    created_at: Time
    updated_at: Time
