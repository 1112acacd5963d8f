"""``/api/v1/status`` and the overview."""

from litestar import get

from hermes_web.core.roles import VIEWER
from hermes_web.features.status.service import Status, status_of
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


@get("/status", opt=VIEWER, tags=["status"])
async def status(request: HttpRequest) -> Status:
    """Return services, queues, oldest waiting, totals, open alerts, and whether all is fine."""
    return await status_of(web_of(request))


@get("/", opt=VIEWER, include_in_schema=False)
async def overview(request: HttpRequest) -> Page:
    """Show the state of the whole."""
    return page(request, "status/overview.html", status=await status_of(web_of(request)))
