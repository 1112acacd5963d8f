"""The page of the flow."""

from datetime import timedelta

from litestar import get

from hermes_web.core.roles import VIEWER
from hermes_web.errors import MalformedError
from hermes_web.features.flow.drawing import NARROW, WIDE, draw
from hermes_web.features.flow.queries import ways
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

SPANS = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}


@get("/flow", opt=VIEWER, include_in_schema=False)
async def flow_page(request: HttpRequest) -> Page:
    """Show the ways of the series of the last hour, day or week."""
    span = request.query_params.get("within", "24h")
    if span not in SPANS:
        raise MalformedError(f"within: one of {', '.join(SPANS)}")
    found = await web_of(request).database.run(ways, SPANS[span])
    drawings = [drawing for layout in (WIDE, NARROW) if (drawing := draw(found, layout)) is not None]
    return page(request, "flow/flow.html", ways=found, drawings=drawings, span=span, spans=list(SPANS))
