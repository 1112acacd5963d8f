"""``/api/v1/quarantine`` and its page: what could not be taken as an instance."""

from urllib.parse import urlencode

from litestar import Controller, get

from hermes_web.core.cursor import limited
from hermes_web.core.roles import VIEWER
from hermes_web.features.paging import Listing, within
from hermes_web.features.quarantine.queries import QuarantineItem, list_quarantine
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class QuarantineController(Controller):
    """Quarantine: what could not be taken as an instance."""

    path = "/quarantine"
    tags = ["quarantine"]

    @get(opt=VIEWER)
    async def listing(
        self, request: HttpRequest, cursor: Cursor = None, limit: Limit = None
    ) -> Listing[QuarantineItem]:
        """Return the rows, the newest first."""
        return await web_of(request).database.run(list_quarantine, limited(limit), cursor)


@get("/quarantine", opt=VIEWER, include_in_schema=False)
async def quarantine_page(request: HttpRequest) -> Page:
    """Show the rows, the newest first."""
    after = request.query_params.get("cursor")
    back = request.query_params.get("within", "")
    found = await web_of(request).database.run(list_quarantine, 100, after, within(back))
    more = None if found.next is None else "/quarantine?" + urlencode({"within": back, "cursor": found.next})
    return page(request, "quarantine/list.html", found=found, more=more, back=back)
