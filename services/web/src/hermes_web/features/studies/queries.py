"""What the history says about studies."""

from sqlalchemy import Connection, select

from hermes_common.ledger import series, studies, study_decisions
from hermes_web.features.series.views import SeriesItem
from hermes_web.features.studies.views import StudyDecision

MOST_SERIES = 1000
MOST_DECISIONS = 50


def series_of(connection: Connection, study_uid: str) -> list[SeriesItem]:
    """Return the series of a study, the first received first."""
    rows = connection.execute(
        select(series)
        .where(series.c.study_uid == study_uid)
        .order_by(series.c.first_received_at, series.c.series_uid)
        .limit(MOST_SERIES)
    )
    return [SeriesItem.model_validate(row) for row in rows]


def decisions_of(connection: Connection, study_uid: str) -> list[StudyDecision]:
    """Return what was decided on a study, the last first."""
    rows = connection.execute(
        select(study_decisions.c.decision, study_decisions.c.completed_at)
        .where(study_decisions.c.study_uid == study_uid)
        .order_by(study_decisions.c.seq.desc())
        .limit(MOST_DECISIONS)
    )
    return [StudyDecision.model_validate({**row.decision, "completed_at": row.completed_at}) for row in rows]


def study_exists(connection: Connection, study_uid: str) -> bool:
    """Return whether the history knows a study, or a series of it."""
    decided = select(studies.c.study_uid).where(studies.c.study_uid == study_uid)
    received = select(series.c.study_uid).where(series.c.study_uid == study_uid)
    return any(connection.execute(each.limit(1)).first() is not None for each in (decided, received))
