"""``/api/v1/audit`` and its page: what people did."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from litestar import Controller, get
from litestar.params import QueryParameter
from litestar.response import Stream

from hermes_web.core.cursor import limited
from hermes_web.core.roles import VIEWER
from hermes_web.core.view import View, masked
from hermes_web.errors import MalformedError
from hermes_web.features.audit.chain import ChainView
from hermes_web.features.audit.export import export_audit
from hermes_web.features.audit.queries import AuditItem, list_audit
from hermes_web.features.paging import Listing
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.http.viewing import as_may_be_seen, may_see_names, told, view_of
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class Entity(StrEnum):
    """What people act on: the first word of an action."""

    USER = "user"
    CONFIG = "config"
    SERIES = "series"
    STUDY = "study"
    DELIVERY = "delivery"
    INSTANCE = "instance"
    EXPORT = "export"
    ALERT = "alert"


ENTITIES: dict[str, str] = {
    Entity.USER.value: "sign-ins and accounts",
    Entity.CONFIG.value: "configuration",
    Entity.SERIES.value: "series",
    Entity.STUDY.value: "studies",
    Entity.DELIVERY.value: "deliveries",
    Entity.INSTANCE.value: "quarantine: downloaded, submitted again",
    Entity.EXPORT.value: "exports",
    Entity.ALERT.value: "alerts",
}
"""Its name on the page."""
Actor = Annotated[str, QueryParameter(name="actor", description="Whose rows: a name as it is in them.")]
About = Annotated[
    Entity | None, QueryParameter(name="about", description="What was acted on: the first word of the action.")
]


class AuditController(Controller):
    """Audit: what people did."""

    path = "/audit"
    tags = ["audit"]

    @get(opt=VIEWER)
    async def listing(
        self, request: HttpRequest, actor: Actor = "", about: About = None, cursor: Cursor = None, limit: Limit = None
    ) -> Listing[AuditItem]:
        """Return the rows, the newest first."""
        found = await web_of(request).database.run(list_audit, limited(limit), cursor, actor, about or "")
        return as_may_be_seen(request, found)

    @get("/export", opt=VIEWER, media_type="text/csv")
    async def export(self, request: HttpRequest, actor: Actor = "", about: About = None) -> Stream:
        """Return the rows as CSV, the newest first. It is audited."""
        view = View() if may_see_names(request) else masked(View())
        return await export_audit(request, view, actor, about or "")

    @get("/chain", opt=VIEWER)
    async def chain(self, request: HttpRequest) -> ChainView:
        """Check the chain of the rows from its beginning, and say whether and where one was changed or taken out."""
        return await web_of(request).audit_checker.check()


@get("/audit", opt=VIEWER, include_in_schema=False)
async def audit_page(request: HttpRequest) -> Page:
    """Show the rows, the newest first."""
    after, (actor, entity) = request.query_params.get("cursor"), _asked(request)
    web = web_of(request)
    found = told(request, await web.database.run(list_audit, 100, after, actor, entity))
    chain = await web.audit_checker.recent()
    asked = {"actor": actor, "about": entity}
    more = None if found.next is None else "/audit?" + urlencode({**asked, "cursor": found.next})
    return page(
        request, "audit/list.html", found=found, chain=chain, more=more, entities=ENTITIES, first=after is None, **asked
    )


@get("/audit/_export", opt=VIEWER, include_in_schema=False)
async def audit_export(request: HttpRequest) -> Stream:
    """Return the rows of the page as CSV, all of them."""
    actor, entity = _asked(request)
    return await export_audit(request, view_of(request), actor, entity)


def _asked(request: HttpRequest) -> tuple[str, str]:
    """Return whose and what rows are asked for; raise :class:`MalformedError`."""
    actor, entity = request.query_params.get("actor", ""), request.query_params.get("about", "")
    if entity and entity not in ENTITIES:
        raise MalformedError(f"about: one of {', '.join(ENTITIES)}")
    return actor, entity
