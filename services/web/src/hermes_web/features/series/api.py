"""``/api/v1/series``."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from pydantic import BaseModel, ConfigDict, Field

from hermes_common.ids import Slug
from hermes_web.core.cursor import limited
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.core.search import parse_search
from hermes_web.features.paging import Listing
from hermes_web.features.series import queries
from hermes_web.features.series.export import Format
from hermes_web.features.series.exporting import export_series
from hermes_web.features.series.service import act
from hermes_web.features.series.timeline import timeline
from hermes_web.features.series.views import InstanceItem, SeriesDetail, SeriesItem, TimelineEntry
from hermes_web.http.viewing import as_may_be_seen, may_see_names
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

Search = Annotated[
    str,
    QueryParameter(
        name="q",
        description="modality: source: status: target: rule: received: patient: accession: study: and free text; "
        "quotes keep words together.",
    ),
]
Cursor = Annotated[str | None, QueryParameter(name="cursor", description="'next' of the page before.")]
Limit = Annotated[int | None, QueryParameter(name="limit", description="Rows a page, at most 500.")]

FileFormat = Annotated[Format, QueryParameter(name="format", description="csv, or parquet where that is installed.")]
AskedColumns = Annotated[
    str,
    QueryParameter(
        name="columns",
        description="Names with commas between them: those of a series, and attributes such as SliceThickness.",
    ),
]
Masked = Annotated[
    bool, QueryParameter(name="masked", description="Without what says who the patient or another person is.")
]


class Ask(BaseModel):
    """Why an action is asked for; kept in the history."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=2000)] = ""


class AskRoute(Ask):
    """Where a series is to go."""

    targets: Annotated[list[Slug], Field(min_length=1, max_length=100)]


class Accepted(BaseModel):
    """A command was put into its queue."""

    command_id: str


class SeriesController(Controller):
    """Series: history and actions."""

    path = "/series"
    tags = ["series"]

    @get(opt=VIEWER)
    async def listing(
        self, request: HttpRequest, q: Search = "", cursor: Cursor = None, limit: Limit = None
    ) -> Listing[SeriesItem]:
        """Return the series that fit a search, the one last received first."""
        search = parse_search(q)
        found = await web_of(request).database.run(queries.list_series, search, limited(limit), cursor)
        return as_may_be_seen(request, found)

    @get("/export", opt=VIEWER, media_type="text/csv")
    async def export(
        self,
        request: HttpRequest,
        q: Search = "",
        format_: FileFormat = "csv",
        columns: AskedColumns = "",
        masked: Masked = False,
    ) -> Stream:
        """Return the series that fit a search as a file, the one last received first. It is audited."""
        return await export_series(request, q, format_, columns, masked or not may_see_names(request))

    @get("/{uid:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, uid: FromPath[str]) -> SeriesDetail:
        """Return everything about a series but its instances: decisions, deliveries, attempts, tags."""
        return as_may_be_seen(request, await web_of(request).database.run(queries.get_series, uid))

    @get("/{uid:str}/instances", opt=VIEWER)
    async def instances(
        self, request: HttpRequest, uid: FromPath[str], cursor: Cursor = None, limit: Limit = None
    ) -> Listing[InstanceItem]:
        """Return the receptions of a series' instances, in their order."""
        return await web_of(request).database.run(queries.list_instances, uid, limited(limit), cursor)

    @get("/{uid:str}/timeline", opt=VIEWER)
    async def timeline(self, request: HttpRequest, uid: FromPath[str]) -> dict[str, list[TimelineEntry]]:
        """Return what happened to a series, in the order of time."""
        return {"items": timeline(await web_of(request).database.run(queries.get_series, uid))}

    @post("/{uid:str}/route", opt=ADMIN, status_code=202)
    async def route(self, request: HttpRequest, uid: FromPath[str], data: JSONBody[AskRoute]) -> Accepted:
        """Send a series to targets, whatever the rules said."""
        actor = principal_of(request).name
        return Accepted(command_id=await act(web_of(request), uid, "route", actor, data.reason, data.targets))

    @post("/{uid:str}/reevaluate", opt=ADMIN, status_code=202)
    async def reevaluate(self, request: HttpRequest, uid: FromPath[str], data: JSONBody[Ask | None] = None) -> Accepted:
        """Evaluate the present rules on a series again."""
        reason = "" if data is None else data.reason
        return Accepted(command_id=await act(web_of(request), uid, "reevaluate", principal_of(request).name, reason))

    @post("/{uid:str}/discard", opt=ADMIN, status_code=202)
    async def discard(self, request: HttpRequest, uid: FromPath[str], data: JSONBody[Ask | None] = None) -> Accepted:
        """Say that a series goes nowhere; it can be routed until its retention has passed."""
        reason = "" if data is None else data.reason
        return Accepted(command_id=await act(web_of(request), uid, "discard", principal_of(request).name, reason))
