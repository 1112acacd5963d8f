"""The page of the queues."""

from collections.abc import Awaitable, Callable

from litestar import get, post
from litestar.response import Redirect

from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError, TransientError
from hermes_common.targets import Targets
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, MalformedError, PreconditionFailedError, StateConflictError, WebError
from hermes_web.features.queues.queries import STEPS, QueueDetail, queue_details
from hermes_web.features.status.sparkline import strokes
from hermes_web.features.targets.service import (
    TargetState,
    end_of_pause,
    pause,
    resume,
    state_of,
    states,
)
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest


@get("/queues", opt=VIEWER, include_in_schema=False)
async def queues_page(request: HttpRequest) -> Page:
    """Show the queue of every target, the one whose oldest delivery waits longest first."""
    return await _page(request)


@post("/queues/pause", opt=ADMIN, include_in_schema=False)
async def pause_target(request: HttpRequest) -> Page | Redirect:
    """Pause a target, for a while if one is given."""

    async def paused(web: Web, form: Form, actor: str) -> None:
        until = end_of_pause(form.text("for"))
        await pause(web, form.text("target"), actor, form.text("reason")[:500], until)

    return await _done(request, paused)


@post("/queues/resume", opt=ADMIN, include_in_schema=False)
async def resume_target(request: HttpRequest) -> Page | Redirect:
    """Resume a target."""

    async def resumed(web: Web, form: Form, actor: str) -> None:
        await resume(web, form.text("target"), actor, form.text("reason")[:500])

    return await _done(request, resumed)


async def _done(request: HttpRequest, action: Callable[[Web, Form, str], Awaitable[None]]) -> Page | Redirect:
    form = await read_form(request)
    try:
        await action(web_of(request), form, principal_of(request).name)
    except (InvalidError, StateConflictError, PreconditionFailedError) as error:
        return await _page(request, error)
    return go("/queues", "saved")


async def _page(request: HttpRequest, error: WebError | None = None) -> Page:
    web, at = web_of(request), now()
    found = await web.database.run(queue_details)
    targets, unreadable = Targets(), None
    try:
        _, targets = await web.targets()
    except (TransientError, MalformedError) as why:
        unreadable = str(why)
    known = {item.slug: item for item in targets.targets}
    empty = {slug: QueueDetail(target=slug, states={}, priorities={}, throughput=[0] * STEPS) for slug in known}
    queues = sorted({**empty, **found}.values(), key=lambda queue: (queue.oldest or at, queue.target))
    return page(
        request,
        "queues/list.html",
        queues=queues,
        targets=known,
        states=await _states(web, targets),
        unreadable=unreadable,
        at=at,
        strokes=strokes,
        error=error,
    )


async def _states(web: Web, targets: Targets) -> dict[str, TargetState]:
    """Return the states of the targets; with the bus away, what the configuration says."""
    try:
        return await states(web, targets)
    except BusUnavailableError:
        return {target.slug: state_of(target, None, now()) for target in targets.targets}
