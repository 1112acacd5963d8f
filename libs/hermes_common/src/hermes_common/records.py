"""The live records: small documents in the bucket ``hermes_state``, changed by compare-and-set.

A record is the point at which something becomes so. Whoever changes one publishes the events that say so *afterwards*,
under ids derived from the record, and does so again whenever it finds the work unfinished: what was decided once is
said at least once, and counts once.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.durations import Duration
from hermes_common.events.base import Sender, Time
from hermes_common.events.mpps import PerformedSeries, StepStatus
from hermes_common.ids import Slug, Uid
from hermes_common.targets import Priority


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeliveryState(StrEnum):
    """The states of a delivery. Every one is either at work, waiting for a time, or ended."""

    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    HELD = "held"
    """A person has it wait, until somebody releases it."""
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


class CommitmentState(StrEnum):
    """How far the question is whether a target takes responsibility for what was delivered (PS3.4 J)."""

    DUE = "due"
    """It is to be asked at ``next_at``."""
    ASKING = "asking"
    """A dispatcher asks; if nothing comes of it until ``next_at``, it is asked again."""
    ASKED = "asked"
    """The target has taken the request, and has until ``next_at`` to say."""
    COMMITTED = "committed"
    FAILED = "failed"


class Commitment(_Record):
    """What a target says about keeping the instances of a delivery that has succeeded."""

    state: CommitmentState = CommitmentState.DUE
    since: Time
    next_at: Time | None = None
    """When somebody has to look again, while it has not ended."""
    tries: int = 0
    transactions: tuple[str, ...] = ()
    """UIDs under which it was asked (bounded), the last one last. A result of any of them counts."""
    parts: Annotated[int, Field(ge=1)] = 1
    """How many of the last transactions make up the last request: a large delivery is asked about in several."""
    committed: str = ""
    """Positions in the manifest that the target keeps (ranges)."""
    failed: dict[str, str] = {}
    """Positions that it does not keep (ranges), by Failure Reason (four hexadecimal digits)."""
    refused: str = ""
    """Positions that it did not keep before it was asked the last time (ranges): only that result says otherwise."""
    reason: str = ""
    ended_at: Time | None = None


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
    is_altered: bool = False
    """Whether the target has got something else instead of what was received; what, ``delivery.progressed`` says."""
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
    """Who last restarted, held, released, cancelled or dismissed it."""
    restarted_at: Time | None = None
    """When it was last restarted or released: its age counts from then."""
    commands: tuple[str, ...] = ()
    """Ids of the last commands carried out (bounded), so that none is carried out twice."""
    trace: str | None = None
    """W3C trace context of the decision that it follows from, where traces are recorded."""
    commitment: Commitment | None = None
    """Since it succeeded, where its target is asked for storage commitment."""
    created_at: Time
    updated_at: Time

    @property
    def awaits_commitment(self) -> bool:
        """Whether it has arrived, and its target has not said yet that it keeps all of it, or that it does not."""
        asked = self.commitment is not None and self.commitment.state is not CommitmentState.COMMITTED
        return asked and self.state is DeliveryState.SUCCEEDED

    @property
    def is_uncommitted(self) -> bool:
        """Whether its target, asked for storage commitment, has not given it: a person has to look."""
        return self.awaits_commitment and self.commitment is not None and self.commitment.ended_at is not None


class TransactionRecord(_Record):
    """A storage commitment that was asked of a target, for whoever the result comes to. Written before it is asked."""

    transaction_uid: Uid
    delivery_id: str
    series_uid: Uid
    study_uid: Uid
    batch_id: str
    target: Slug


class TargetRecord(_Record):
    """An outage of a target. It exists while the target is down, and until it has been said that it is up again."""

    target: Slug
    outage: str
    since: Time
    reason: str
    is_up: bool = False
    """The outage is over, and that remains to be said."""
    said: bool = False
    """Whether it has been said that the target is down."""
    next_test_at: Time
    """Whoever moves this on makes the next test."""


class EndpointRecord(TargetRecord):
    """An outage of one endpoint of a target that has several, kept like that of a target."""

    endpoint: str
    """Its address in one line."""


class PauseRecord(_Record):
    """A pause of a target that has been said, kept until its end has been said as well."""

    target: Slug
    since: Time
    actor: str = ""
    reason: str = ""
    until: Time | None = None


class Places(_Record):
    """Who sends to a target at the moment: the id of each attempt, and until when it holds its place if it dies."""

    target: Slug
    holders: dict[str, Time] = {}
    at: dict[str, str] = {}
    """The endpoint (by its token) of each attempt that has one."""
    credits: dict[str, int] = {}
    """What each endpoint is owed of the turns, over all dispatchers."""


class HeldRecord(_Record):
    """Where the newest reception of an instance is stored. Written by the receiver that stored it, beside the event
    that says so; whether the object is still there, the store says.
    """

    sop_class_uid: str
    series_uid: Uid
    key: str


class StepRecord(_Record):
    """A performed procedure step, as the modality has said so far (PS3.4 F.7). Written by receivers."""

    sop_instance_uid: Uid
    status: StepStatus
    studies: tuple[Uid, ...]
    series: tuple[PerformedSeries, ...] = ()
    modality: str = ""
    sender: Sender
    """Who spoke last, and over which association."""
    association_id: str
    change: Annotated[int, Field(ge=1)] = 1
    request: str
    """Digest of the request that made it what it is."""
    said: bool = False
    """Whether that has been published; until then its request has not been answered."""
    updated_at: Time


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
    deferred: bool = False
    """No rule about series sends it anywhere: whether it is unmatched, the rules about its study will say."""
    awaits_study: bool = False
    """Its study has not been decided since it came: it may not be deleted, though its retention may have begun."""
    rules: tuple[Slug, ...] = ()
    """Rules that fired on it; of those that asked for a delivery, the record of that says which."""
    received_at: Time | None = None
    """When its last instance was received; None in records of an earlier release."""
    quiet_period: Duration | None = None
    """How long the series had to be quiet, and by which policy."""
    quiet_for: str = ""
    shortened_by: str = ""
    """Why the wait was cut short, if it was."""


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


class StudyState(StrEnum):
    """The states of a study."""

    OPEN = "open"
    HELD = "held"
    """Not complete after the maximum wait: a person completes it, or what is missing comes."""
    COMPLETE = "complete"


class Forced(_Record):
    """A person's wish that a study be taken as complete, or be discarded."""

    command_id: str
    actor: str
    discard: bool = False
    """What is undecided of it, and goes nowhere yet, is to be discarded."""


class StudyRecord(_Record):
    """What the router knows of a study. What is undecided of it, the records of its series say (``awaits_study``)."""

    study_uid: Uid
    state: StudyState = StudyState.OPEN
    series: tuple[Uid, ...] = ()
    """Every series of which instances came, in that order (bounded)."""
    expected: int | None = None
    """NumberOfStudyRelatedInstances (0020,1208), the largest that was sent."""
    round: int = 0
    """How often the study has been decided."""
    opened_at: Time
    """When the first of what is undecided came; the maximum wait counts from here."""
    waiting: str = ""
    """What it waits for, in words, and until when."""
    until: Time | None = None
    was_held: bool = False
    """Whether it has been held in this round."""
    forced: Forced | None = None
    afresh: bool = False
    """Whether the next round evaluates the present rules, whatever was decided before."""
    decision_key: str = ""
    """Of the last round."""
    pending: PendingCommand | None = None
    """The last round, while not all that follows from it has been published."""
    commands: tuple[str, ...] = ()
    """Ids of the last commands carried out (bounded)."""
    created_at: Time
    updated_at: Time


class Pressure(_Record):
    """An object store that is over its watermark."""

    episode: str
    since: Time
    excess: int
    """Octets that have to go."""
    stuck: bool = False
    """Nothing more may be removed."""
    reason: str = ""


class WatermarkRecord(_Record):
    """What the cleaner last found out about the room in the object store. There is one, of all cleaners."""

    next_at: Time
    """Whoever moves this on makes the next look."""
    looked_at: Time | None = None
    stored: int | None = None
    """Octets of instances that live records name."""
    free: int | None = None
    """Octets that are free, where that can be seen."""
    pressure: Pressure | None = None
    removed_at: Time | None = None
    """When series last went before their retention."""
    removed_series: int = 0
    removed_octets: int = 0


class SweepRecord(_Record):
    """The last look for objects without records and records without objects. There is one, of all cleaners."""

    next_at: Time
    """Whoever moves this on makes the next sweep."""
    ended_at: Time | None = None
    report_key: str = ""
    """Of what was found, in the object store."""
    objects: int = 0
    octets: int = 0
    """Of everything in the store."""
    orphans: int = 0
    orphan_octets: int = 0
    missing: int = 0
    removed: int = 0
    removed_octets: int = 0
