"""``/api/v1/status`` and the overview."""

from litestar import get

from hermes_common.runtime.errors import TransientError
from hermes_web.core.roles import VIEWER
from hermes_web.errors import MalformedError, UnavailableError
from hermes_web.features.alerts.grouping import grouped
from hermes_web.features.start.service import open_steps
from hermes_web.features.status.glance import glance
from hermes_web.features.status.service import Status, status_of
from hermes_web.features.status.sparkline import strokes
from hermes_web.features.targets.service import TargetState
from hermes_web.features.targets.service import states as target_states
from hermes_web.http.answers import Page, page
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


@get("/status", opt=VIEWER, tags=["status"])
async def status(request: HttpRequest) -> Status:
    """Return services, queues, oldest waiting, totals, open alerts, and whether all is fine."""
    return await status_of(web_of(request))


@get("/", opt=VIEWER, include_in_schema=False)
async def overview(request: HttpRequest) -> Page:
    """Show the state of the whole."""
    web = web_of(request)
    status = await status_of(web)
    try:
        seen = await web.database.run(glance)
    except UnavailableError:
        seen = None
    states: dict[str, TargetState] = {}
    unreadable = False
    try:
        configured = (await web.targets())[1]
        targets = list(configured.targets)
        states = await target_states(web, configured)
    except (TransientError, MalformedError):
        targets, unreadable = [], True
    steps = await open_steps(web) if principal_of(request).is_admin else None
    values = {"status": status, "glance": seen, "targets": targets, "states": states, "strokes": strokes}
    values["unreadable"] = unreadable
    values["groups"] = grouped(status.alerts or ())
    return page(request, "status/overview.html", **values, steps=steps)
