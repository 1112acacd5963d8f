"""Actions on series: what the API and the pages do alike."""

from collections.abc import Sequence
from typing import Literal

from hermes_common import subjects
from hermes_common.ids import InvalidIdentifierError, check_uid
from hermes_common.records import SeriesRecord
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, StateConflictError, UnavailableError
from hermes_web.features.series.queries import series_exists
from hermes_web.web import Web

SeriesAction = Literal["route", "reevaluate", "discard"]
BULK = 200


async def act(
    web: Web, uid: str, action: SeriesAction, actor: str, reason: str = "", targets: Sequence[str] = ()
) -> str:
    """Ask the router; return the id of the command. Raises what says why not."""
    check_uid(uid)
    if len(reason) > 2000:
        raise InvalidError(problems=[FieldProblem("reason", "at most 2000 characters")])
    if action == "route":
        await check_targets(web, targets)
    await _check_series(web, uid)
    return await web.commands.series(uid, action, actor, reason, targets)


async def act_on_many(
    web: Web, uids: Sequence[str], action: SeriesAction, actor: str, reason: str = "", targets: Sequence[str] = ()
) -> int:
    """Ask for the same action on up to 200 series; return for how many. Those that are gone are passed over."""
    if not uids:
        raise InvalidError(problems=[FieldProblem("ids", "tick at least one series")])
    asked = 0
    for uid in dict.fromkeys(uids[:BULK]):
        try:
            await act(web, uid, action, actor, reason, targets)
        except (NotFoundError, StateConflictError, InvalidIdentifierError):
            continue
        asked += 1
    return asked


async def check_targets(web: Web, targets: Sequence[str]) -> None:
    """Raise :class:`InvalidError` unless there is at least one target and every one is configured."""
    if not targets:
        raise InvalidError(problems=[FieldProblem("targets", "choose at least one target")])
    _, known = await web.targets()
    problems = [
        FieldProblem(f"targets[{index}]", f"there is no target {slug!r}")
        for index, slug in enumerate(targets)
        if known.get(slug) is None
    ]
    if problems:
        raise InvalidError(problems=problems)


async def _check_series(web: Web, uid: str) -> None:
    await web.bus.connected()
    found = await web.bus.load(subjects.STATE, subjects.series_state(uid), SeriesRecord)
    if found is not None:
        if found[0].state != "open":
            raise StateConflictError(f"the series is {found[0].state}: its images are gone")
        return
    try:
        known = await web.database.run(series_exists, uid)
    except UnavailableError:
        known = False
    if not known:
        raise NotFoundError(f"no series {uid} is known")
