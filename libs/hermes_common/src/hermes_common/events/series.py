"""Events of the router and the cleaner about series: completed, decided, recovered, deleted."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hermes_common.config import Action, Notification, Priority, RuleState
from hermes_common.durations import Duration
from hermes_common.events.base import Event, Sender, SeriesRef, Tags, Time, Value
from hermes_common.ids import Slug, uid_token


class Clause(Value):
    """One clause of a rule's expression, what it came to, and what it saw."""

    text: str
    start: int = 0
    end: int = 0
    """Span in the expression, in characters."""
    outcome: Literal["true", "false", "unknown", "error"]
    seen: list[str] = []
    reason: str = ""


class RuleOutcome(Value):
    """What one rule came to, and why."""

    slug: Slug
    name: str
    state: RuleState
    action: Action = Action.ROUTE
    status: Literal[
        "fired",
        "would_fire",
        "not_matched",
        "unknown",
        "failed",
        "not_reached",
        "held_back",
        "overruled",
        "off",
    ]
    """What became of the rule; only one that is ``fired`` had an effect."""
    verdict: Literal["match", "no_match", "unknown", "error"] | None = None
    """What its expression came to; None if it was not evaluated."""
    targets: list[Slug] = []
    expression: str = ""
    clauses: list[Clause] = []
    reason: str = ""
    notifications: list[Notification] = []
    """What of the rule is to be told by an alert."""
    contact: str = ""
    """Whom to ask about the rule."""


class PlannedDelivery(Value):
    """One delivery that a decision asks for."""

    delivery_id: str
    target: Slug
    priority: Priority = Priority.NORMAL
    rules: list[Slug] = []
    """The rules that asked for it; empty if a person did."""


class Decision(Value):
    """Where one batch of a series goes, and why. ``revision`` is that of the rule set that made it."""

    batch_id: str
    kind: Literal["rules", "manual", "late", "study"]
    """``study``: the rules about its study, once that was complete."""
    outcome: Literal["routed", "unmatched", "discarded", "deferred"]
    """``deferred``: in ``series.deferred`` only; the rules about the study will say."""
    revision: int
    rules: list[RuleOutcome] = []
    deliveries: list[PlannedDelivery] = []
    problems: list[str] = []
    """What went wrong on the way and a person should know: a rule that failed, a target that is not configured."""
    actor: str = ""
    """Who decided, where a person did."""
    decided_at: Time
    stopped_by: Slug | None = None
    """The rule about series that fired and left out the rules after it."""
    round: int = 0
    """For ``study``: how often the study had been decided, this time included."""
    truncated: bool = False
    """Clauses of rules that did not match were left out; the whole decision lies in the store under ``key``."""
    key: str = ""


class _SeriesEvent(Event, SeriesRef):
    entity: ClassVar[str] = "series"

    def token(self) -> str:
        return uid_token(self.series_uid)


class SeriesCompleted(_SeriesEvent):
    """A series has been quiet: the instances that came since the last time are one batch."""

    verb: ClassVar[str] = "completed"

    batch_id: str
    batch: Annotated[int, Field(ge=1)]
    """1 for the first batch of a series, more for late instances."""
    manifest_key: str
    through_seq: int = 0
    """Sequence in the event stream of the last reception that is in a batch."""
    instances: int
    """Instances of this batch that are routed."""
    octets: int
    duplicates: int = 0
    """Receptions of the same instance with the same bytes, which are not routed again."""
    conflicts: int = 0
    """Instances that came with different bytes under one UID; the newest is routed."""
    first_received_at: Time
    last_received_at: Time
    quiet_period: Duration
    quiet_for: str = ""
    """Which entry of the policies gave the quiet period, such as ``modality MR``; empty for the general one."""
    shortened_by: str = ""
    """Why less than the quiet period was waited for, if it was."""
    senders: list[Sender] = []
    tags: Tags = {}
    """Distinct values over the instances of this batch."""


class _SeriesDecided(_SeriesEvent):
    batch: Annotated[int, Field(ge=1)]
    decision: Decision


class SeriesRouted(_SeriesDecided):
    """A batch of a series goes to at least one target."""

    verb: ClassVar[str] = "routed"


class SeriesUnmatched(_SeriesDecided):
    """No rule matched a batch of a series, or none could be evaluated; it is kept for its retention."""

    verb: ClassVar[str] = "unmatched"


class SeriesDeferred(_SeriesDecided):
    """No rule about series sends a batch anywhere, and there are rules about studies: they decide, and it is kept."""

    verb: ClassVar[str] = "deferred"


class SeriesDiscarded(_SeriesDecided):
    """A rule or a person said that a batch of a series goes nowhere; it is kept for its retention."""

    verb: ClassVar[str] = "discarded"


class SeriesRecovered(_SeriesEvent):
    """A person routed a series that no rule had routed."""

    verb: ClassVar[str] = "recovered"

    actor: str
    targets: list[Slug]


class SeriesDeleted(_SeriesEvent):
    """The objects of a series were removed, because everything about it was done and its retention had passed."""

    verb: ClassVar[str] = "deleted"

    objects: int
    octets: int
    reason: str
