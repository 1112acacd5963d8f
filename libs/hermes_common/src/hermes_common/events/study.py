"""Events of the router about studies: complete and decided, or held for a person."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hermes_common.durations import Duration
from hermes_common.events.base import Event, Time
from hermes_common.events.series import RuleOutcome
from hermes_common.ids import Slug, Uid, uid_token


class _StudyEvent(Event):
    entity: ClassVar[str] = "study"

    study_uid: Uid
    round: Annotated[int, Field(ge=1)]
    """1 for the first time that the study is decided, more for what came after it."""
    reason: str
    """Why now, in words."""
    series: int
    opened_at: Time
    """When the first of what is decided in this round came."""

    def token(self) -> str:
        return uid_token(self.study_uid)


class StudyCompleted(_StudyEvent):
    """A study is complete and the rules about it have been applied; each series concerned has a decision of its own."""

    verb: ClassVar[str] = "completed"

    outcome: Literal["routed", "unmatched", "discarded"]
    """What the rules about studies came to, without fallback rules, which are a matter of each series."""
    kind: Literal["rules", "late", "manual"] = "rules"
    """``late``: it follows an earlier round, under the revision of that time. ``manual``: a person discarded it."""
    revision: int
    rules: list[RuleOutcome] = []
    targets: list[Slug] = []
    batches: int = 0
    """Batches of its series that were undecided until now."""
    instances: int = 0
    """Of all its series."""
    routed: int = 0
    """Series of it that go somewhere, by whichever rule or person."""
    quiet_period: Duration
    problems: list[str] = []
    held: bool = False
    """Whether it was held for a person before."""
    actor: str = ""
    """Who said that it is complete, where a person did."""
    key: str = ""
    """Of the whole decision in the object store."""


class StudyHeld(_StudyEvent):
    """A study is not complete after the maximum wait: it waits for what is missing, or for a person."""

    verb: ClassVar[str] = "held"
