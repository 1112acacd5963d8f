"""``/api/v1/alerts`` and its page: what needs a person."""

from litestar import Controller, get

from hermes_web.core.cursor import limited
from hermes_web.core.roles import VIEWER
from hermes_web.features.alerts.queries import AlertsItem, list_alerts
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class AlertsController(Controller):
    """Alerts: what needs a person."""

    path = "/alerts"
    tags = ["alerts"]

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest, cursor: Cursor = None, limit: Limit = None) -> Listing[AlertsItem]:
        """Return the rows, the newest first."""
        return await web_of(request).database.run(list_alerts, limited(limit), cursor)


@get("/alerts", opt=VIEWER, include_in_schema=False)
async def alerts_page(request: HttpRequest) -> Page:
    """Show the rows, the newest first."""
    after = request.query_params.get("cursor")
    found = await web_of(request).database.run(list_alerts, 100, after)
    more = None if found.next is None else f"/alerts?cursor={found.next}"
    return page(request, "alerts/list.html", found=found, more=more)
