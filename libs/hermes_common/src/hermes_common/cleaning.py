"""What is asked of the cleaner over the bus, and what it answers: the plan, and a sweep by hand."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hermes_common.events.base import Time
from hermes_common.records import SweepRecord, WatermarkRecord

ASK_PLAN = "hermes.ask.cleaner.plan"
"""Subject of :class:`PlanAsked`; one cleaner answers with :class:`Plan`."""

ASK_SWEEP = "hermes.ask.cleaner.sweep"
"""Subject of :class:`SweepAsked`; one cleaner answers with :class:`SweepBegun` and sweeps."""

MOST_LISTED = 1000


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlanAsked(_Message):
    """What would be deleted, when and why? Nothing is changed."""

    limit: Annotated[int, Field(ge=0, le=MOST_LISTED)] = 100


class PlannedSeries(_Message):
    """What is to become of one series."""

    series_uid: str
    study_uid: str
    octets: int
    instances: int
    at: Time | None = None
    """When it is deleted; None while something keeps it."""
    why: str
    """Which retention holds, or what keeps the series."""
    early: bool = False
    """The watermark would remove it now, before its retention."""


class Kept(_Message):
    """Series that are kept for one reason."""

    reason: str
    series: int
    octets: int


class Plan(_Message):
    """What would be deleted, when and why, if nothing else happened."""

    at: Time
    cleaner: str
    series: int
    """Live series that were looked at."""
    octets: int
    due: int = 0
    """Of them, those whose retention has passed."""
    due_octets: int = 0
    early: int = 0
    """Of them, those that the watermark would remove now."""
    early_octets: int = 0
    soonest: list[PlannedSeries] = []
    """The first to go."""
    kept: list[Kept] = []
    unreadable: int = 0
    """Records that cannot be read; what they are about is kept."""
    watermark: WatermarkRecord | None = None
    watermark_words: str = ""
    sweep: SweepRecord | None = None
    orphans: list["Orphan"] = []
    """Of the last sweep."""
    missing: list[str] = []
    orphans_removed: bool = False
    """Whether the policies have orphans removed."""


class Orphan(_Message):
    """An object that nothing names."""

    key: str
    octets: int
    modified: Time
    first_seen: Time
    why: str
    removed_from: Time | None = None
    """When the grace ends; None if it is never removed."""


class SweepReport(_Message):
    """What a sweep found, as an object in the store. The lists are bounded; the counts are in the record."""

    at: Time
    orphans: list[Orphan] = []
    missing: list[str] = []


class SweepAsked(_Message):
    """Look through the store now. ``remove``: orphans beyond their grace go, whatever the policies say."""

    actor: Annotated[str, Field(min_length=1, max_length=200)]
    remove: bool = False


class SweepBegun(_Message):
    """The answer: whether a sweep was begun, or one is under way."""

    state: Literal["begun", "under_way"]
    cleaner: str


Plan.model_rebuild()
