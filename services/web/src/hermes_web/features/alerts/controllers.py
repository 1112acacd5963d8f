"""``/api/v1/alerts`` and its page: what needs a person."""

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect

from hermes_web.core.cursor import limited
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.alerts.queries import AlertsItem, list_alerts
from hermes_web.features.alerts.service import BY_ITSELF, clear
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Ask, Cursor, Limit
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class AlertsController(Controller):
    """Alerts: what needs a person."""

    path = "/alerts"
    tags = ["alerts"]

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest, cursor: Cursor = None, limit: Limit = None) -> Listing[AlertsItem]:
        """Return the rows, the newest first."""
        return await web_of(request).database.run(list_alerts, limited(limit), cursor)

    @post("/{alert_id:str}/clear", opt=ADMIN, status_code=202)
    async def clear(
        self, request: HttpRequest, alert_id: FromPath[str], data: JSONBody[Ask | None] = None
    ) -> dict[str, str]:
        """Say that an alert has been seen to; those that are over by themselves are refused."""
        reason = "" if data is None else data.reason
        await clear(web_of(request), alert_id, principal_of(request).name, reason)
        return {"alert_id": alert_id}


@get("/alerts", opt=VIEWER, include_in_schema=False)
async def alerts_page(request: HttpRequest) -> Page:
    """Show the rows, the newest first."""
    after = request.query_params.get("cursor")
    found = await web_of(request).database.run(list_alerts, 100, after)
    more = None if found.next is None else f"/alerts?cursor={found.next}"
    return page(request, "alerts/list.html", found=found, more=more, by_itself=BY_ITSELF)


@post("/alerts/{alert_id:str}/clear", opt=ADMIN, include_in_schema=False)
async def clear_alert(request: HttpRequest, alert_id: FromPath[str]) -> Redirect:
    """Say that an alert has been seen to."""
    form = await read_form(request)
    await clear(web_of(request), alert_id, principal_of(request).name, form.text("reason"))
    return go("/alerts", "asked")
