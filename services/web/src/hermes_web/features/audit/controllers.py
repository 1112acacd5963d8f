"""``/api/v1/audit`` and its page: what people did."""

from urllib.parse import urlencode

from litestar import Controller, get

from hermes_web.core.cursor import limited
from hermes_web.core.roles import VIEWER
from hermes_web.errors import MalformedError
from hermes_web.features.audit.chain import ChainView
from hermes_web.features.audit.queries import AuditItem, list_audit
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

ENTITIES = {
    "user": "sign-ins and accounts",
    "config": "configuration",
    "series": "series",
    "study": "studies",
    "delivery": "deliveries",
    "instance": "quarantine: downloaded, submitted again",
    "export": "exports",
    "alert": "alerts",
}
"""What people act on: the first word of an action, and its name on the page."""


class AuditController(Controller):
    """Audit: what people did."""

    path = "/audit"
    tags = ["audit"]

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest, cursor: Cursor = None, limit: Limit = None) -> Listing[AuditItem]:
        """Return the rows, the newest first."""
        return await web_of(request).database.run(list_audit, limited(limit), cursor)

    @get("/chain", opt=VIEWER)
    async def chain(self, request: HttpRequest) -> ChainView:
        """Check the chain of the rows from its beginning, and say whether and where one was changed or taken out."""
        return await web_of(request).audit_checker.check()


@get("/audit", opt=VIEWER, include_in_schema=False)
async def audit_page(request: HttpRequest) -> Page:
    """Show the rows, the newest first."""
    params = request.query_params
    after, actor, entity = params.get("cursor"), params.get("actor", ""), params.get("about", "")
    if entity and entity not in ENTITIES:
        raise MalformedError(f"about: one of {', '.join(ENTITIES)}")
    web = web_of(request)
    found = await web.database.run(list_audit, 100, after, actor, entity)
    chain = await web.audit_checker.recent()
    asked = {"actor": actor, "about": entity}
    more = None if found.next is None else "/audit?" + urlencode({**asked, "cursor": found.next})
    return page(
        request, "audit/list.html", found=found, chain=chain, more=more, entities=ENTITIES, first=after is None, **asked
    )
