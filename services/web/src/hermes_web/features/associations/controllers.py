"""``/api/v1/associations`` and its page: who came, and how it ended."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from litestar import Controller, get
from litestar.params import QueryParameter

from hermes_web.core.cursor import limited
from hermes_web.core.roles import VIEWER
from hermes_web.features.associations.queries import AssociationItem, list_associations
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class State(StrEnum):
    """How an association stands."""

    OPENED = "opened"
    CLOSED = "closed"
    ABORTED = "aborted"
    REJECTED = "rejected"


STATES = tuple(state.value for state in State)
_FILTERS = ("state", "calling_aet", "address")
Wanted = Annotated[State | None, QueryParameter(name="state", description="Only those that stand so.")]
CallingAet = Annotated[str | None, QueryParameter(name="calling_aet", description="Only those of this AE title.")]
Address = Annotated[str | None, QueryParameter(name="address", description="Only those from this network address.")]


class AssociationsController(Controller):
    """Associations: who came, and how it ended."""

    path = "/associations"
    tags = ["associations"]

    @get(opt=VIEWER)
    async def listing(
        self,
        request: HttpRequest,
        stands: Wanted = None,
        calling_aet: CallingAet = None,
        address: Address = None,
        cursor: Cursor = None,
        limit: Limit = None,
    ) -> Listing[AssociationItem]:
        """Return the associations, the newest first; ``state``, ``calling_aet`` and ``address`` narrow them."""
        wanted = (stands, calling_aet, address)
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
