"""``/api/v1/associations`` and its page: who came, and how it ended."""

from urllib.parse import urlencode

from litestar import Controller, get

from hermes_web.core.cursor import limited
from hermes_web.core.roles import VIEWER
from hermes_web.features.associations.queries import AssociationItem, list_associations
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

STATES = ("opened", "closed", "aborted", "rejected")
_FILTERS = ("state", "calling_aet", "address")


class AssociationsController(Controller):
    """Associations: who came, and how it ended."""

    path = "/associations"
    tags = ["associations"]

    @get(opt=VIEWER)
    async def listing(
        self,
        request: HttpRequest,
        cursor: Cursor = None,
        limit: Limit = None,
    ) -> Listing[AssociationItem]:
        """Return the associations, the newest first; ``state``, ``calling_aet`` and ``address`` narrow them."""
        wanted = [request.query_params.get(name) for name in _FILTERS]
        return await web_of(request).database.run(list_associations, limited(limit), cursor, *wanted)


@get("/associations", opt=VIEWER, include_in_schema=False)
async def associations_page(request: HttpRequest) -> Page:
    """Show the associations, the newest first."""
    wanted = {name: request.query_params.get(name, "") for name in _FILTERS}
    after = request.query_params.get("cursor")
    found = await web_of(request).database.run(list_associations, 100, after, *wanted.values())
    here = {name: value for name, value in wanted.items() if value}
    more = None if found.next is None else "/associations?" + urlencode({**here, "cursor": found.next})
    return page(request, "associations/list.html", found=found, more=more, wanted=wanted, states=STATES)
