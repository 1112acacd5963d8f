"""What the API and the pages do with studies alike."""

from collections.abc import Sequence
from typing import Literal

from hermes_common.ids import check_uid
from hermes_common.records import StudyState
from hermes_common.runtime.errors import TransientError
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, StateConflictError
from hermes_web.features.series.service import check_targets
from hermes_web.features.studies import queries
from hermes_web.features.studies.views import StudyDetail
from hermes_web.web import Web

StudyAction = Literal["complete", "route", "discard"]


async def show(web: Web, uid: str) -> StudyDetail:
    """Return everything about a study; without the bus, what the history says."""
    check_uid(uid)
    series = await web.database.run(queries.series_of, uid)
    decisions = await web.database.run(queries.decisions_of, uid)
    try:
        live = await web.commands.live_study(uid)
    except TransientError:
        live = None
    if live is None:
        if not series and not decisions:
            raise NotFoundError(f"no study {uid} is known")
        return StudyDetail(study_uid=uid, state="unknown", round=len(decisions), series=series, decisions=decisions)
    record, armed = live
    is_open = record.state is StudyState.OPEN
    return StudyDetail(
        study_uid=uid,
        state=record.state.value,
        waits_for=record.waiting or ("its series to be quiet" if is_open else ""),
        until=(armed or record.until) if is_open else None,
        round=record.round,
        opened_at=record.opened_at,
        expected=record.expected,
        series=series,
        decisions=decisions,
    )


async def act(
    web: Web, uid: str, action: StudyAction, actor: str, reason: str = "", targets: Sequence[str] = ()
) -> str:
    """Ask the router; return the id of the command. Raises what says why not."""
    check_uid(uid)
    if len(reason) > 2000:
        raise InvalidError(problems=[FieldProblem("reason", "at most 2000 characters")])
    if action == "route":
        await check_targets(web, targets)
    live = await web.commands.live_study(uid)
    if live is None:
        if await web.database.run(queries.study_exists, uid):
            raise StateConflictError("the study is over: its images are gone, or came before studies were followed")
        raise NotFoundError(f"no study {uid} is known")
    if action in ("complete", "discard") and live[0].state is StudyState.COMPLETE:
        raise StateConflictError("nothing of the study is undecided")
    return await web.commands.study(uid, action, actor, reason, targets)
