"""Studies as they are shown."""

from datetime import datetime
from typing import Literal

from hermes_common.events import StudyCompleted
from hermes_web.features.paging import View
from hermes_web.features.series.views import SeriesItem


class StudyDecision(StudyCompleted):
    """One time that a study was decided."""

    completed_at: datetime

    @property
    def shown(self) -> str:
        """The outcome for people: a study that no rule is about goes where the rules about series sent it."""
        return "routed" if self.outcome == "unmatched" and self.routed else self.outcome

    @property
    def by_series(self) -> bool:
        """Whether only rules about series, or people, sent what went."""
        return self.outcome == "unmatched" and self.routed > 0


class StudyDetail(View):
    """Everything about a study."""

    study_uid: str
    state: Literal["open", "held", "complete", "unknown"]
    """``unknown``: there is no live record of it; what is said of it is history."""
    waits_for: str = ""
    until: datetime | None = None
    """When the router looks at it again at the latest."""
    round: int = 0
    """How often it has been decided."""
    opened_at: datetime | None = None
    expected: int | None = None
    """NumberOfStudyRelatedInstances, where a sender said it."""
    series: list[SeriesItem]
    decisions: list[StudyDecision]
