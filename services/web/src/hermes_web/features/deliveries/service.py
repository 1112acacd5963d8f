"""Actions on deliveries: what the API and the pages do alike."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from hermes_common.records import DeliveryState
from hermes_common.runtime.clock import new_id
from hermes_web.adapters.commands import Scope
from hermes_web.core.actions import WITH_REASON, DeliveryAction, possible, refusal
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    NotFoundError,
    StateConflictError,
    UnavailableError,
)
from hermes_web.features.deliveries.queries import ids_of, state_of
from hermes_web.web import Web

BULK = 1000
_ID = re.compile(r"[0-9a-f-]{36}")
STATES = tuple(state.value for state in DeliveryState)


class BulkResult(BaseModel):
    """What a bulk action asked for. ``skipped`` deliveries were not in a state that it fits."""

    asked: int
    skipped: int
    command_ids: list[str]
    bulk_id: str
    """Of the action as a whole: the deliveries that it restarts carry it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of one delivery, or of many. ``to`` is where a reroute goes."""

    action: DeliveryAction
    actor: str
    reason: str = ""
    scope: Scope = "missing"
    to: str | None = None
    bulk: str = ""
    """Id of the bulk action that it is a part of."""


async def act(web: Web, delivery_id: str, wish: Wish) -> str:
    """Ask the dispatcher; return the id of the command. Raises what says why not."""
    await _check(web, wish)
    return await _ask(web, delivery_id, wish)


async def act_on_many(
    web: Web, wish: Wish, states: Sequence[str], target: str | None, ids: Sequence[str]
) -> BulkResult:
    """Ask for the same action on up to 1,000 deliveries, named or found by a filter."""
    if not ids and not states:
        raise InvalidError(problems=[FieldProblem("state", "name deliveries by ids, or a state to filter by")])
    await _check(web, wish)
    wish = replace(wish, bulk=new_id())
    found = [] if ids else await web.database.run(ids_of, list(states), target, BULK)
    named = list(ids) or [item for item, state, open_ in found if wish.action in possible(state, uncommitted=open_)]
    asked: list[str] = []
    skipped = max(len(found) - len(named), 0)
    for start in range(0, len(named), 50):
        calls = [_ask(web, item, wish) for item in named[start : start + 50]]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            match result:
                case str():
                    asked.append(result)
                case NotFoundError() | StateConflictError():
                    skipped += 1
                case _:
                    raise result
    return BulkResult(asked=len(asked), skipped=skipped, command_ids=asked, bulk_id=wish.bulk)


async def _check(web: Web, wish: Wish) -> None:
    """Raise :class:`InvalidError` for what is wrong with a wish whatever the delivery."""
    problems = []
    if len(wish.reason) > 2000:
        problems.append(FieldProblem("reason", "at most 2000 characters"))
    if wish.action in WITH_REASON and not wish.reason.strip():
        problems.append(FieldProblem("reason", "say why: it is kept with the delivery and in the audit"))
    if wish.action == "reroute" and (not wish.to or (await web.targets())[1].get(wish.to) is None):
        problems.append(FieldProblem("to", "name the target that it goes to instead, by its short name"))
    if problems:
        raise InvalidError(problems=problems)


async def _ask(web: Web, delivery_id: str, wish: Wish) -> str:
    if not _ID.fullmatch(delivery_id):
        raise NotFoundError(f"{delivery_id[:64]!r} is not the id of a delivery")
    record = await web.commands.live_delivery(delivery_id)
    known = (record.state.value, record.is_uncommitted) if record else await _recorded_state(web, delivery_id)
    if known is None:
        raise NotFoundError(f"no delivery {delivery_id} is known")
    if (why := refusal(wish.action, known[0], uncommitted=known[1])) is not None:
        raise StateConflictError(why)
    if wish.action == "reroute" and record is not None and record.target == wish.to:
        raise StateConflictError(f"it goes to {wish.to} already")
    return await web.commands.delivery(
        delivery_id, wish.action, wish.actor, wish.reason.strip(), wish.scope, wish.to, wish.bulk
    )


async def _recorded_state(web: Web, delivery_id: str) -> tuple[str, bool] | None:
    try:
        return await web.database.run(state_of, delivery_id)
    except UnavailableError:
        return None
