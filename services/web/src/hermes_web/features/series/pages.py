"""Pages of series: the list, and everything about one."""

from typing import cast
from urllib.parse import urlencode

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.core.search import STATES, Search, parse_search
from hermes_web.errors import InvalidError, MalformedError, NotFoundError
from hermes_web.features.deliveries.queries import outcomes_of_series
from hermes_web.features.paging import Listing
from hermes_web.features.series import queries
from hermes_web.features.series.service import SeriesAction, act
from hermes_web.features.series.timeline import timeline, waterfall
from hermes_web.features.series.views import SeriesItem
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class SeriesPages(Controller):
    """Series."""

    path = "/series"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the series that fit a search."""
        text, after = request.query_params.get("q", ""), request.query_params.get("cursor")
        try:
            search, error = parse_search(text), None
        except InvalidError as problem:
            search, error = Search({}), problem
        found: Listing[SeriesItem] = Listing(items=[])
        if error is None:
            found = await web_of(request).database.run(queries.list_series, search, 50, after)
        more = None if found.next is None else "/series?" + urlencode({"q": text, "cursor": found.next})
        return page(
            request,
            "series/list.html",
            found=found,
            q=text,
            more=more,
            error=error,
            states=STATES,
            first=after is None,
        )

    @get("/{uid:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, uid: FromPath[str]) -> Page:
        """Show everything about a series."""
        return await self._one(request, uid)

    @post("/{uid:str}/{action:str}", opt=ADMIN)
    async def ask(self, request: HttpRequest, uid: FromPath[str], action: FromPath[str]) -> Page | Redirect:
        """Route, evaluate again, or discard."""
        form = await read_form(request)
        if action not in ("route", "reevaluate", "discard"):
            raise NotFoundError("there is no such action")
        known, actor = cast(SeriesAction, action), principal_of(request).name
        try:
            await act(web_of(request), uid, known, actor, form.text("reason"), form.all("targets"))
        except InvalidError as error:
            return await self._one(request, uid, error)
        return go(f"/series/{uid}", "asked")

    @staticmethod
    async def _one(request: HttpRequest, uid: str, error: InvalidError | None = None) -> Page:
        web = web_of(request)
        after = request.query_params.get("cursor")
        detail = await web.database.run(queries.get_series, uid)
        instances = await web.database.run(queries.list_instances, uid, 100, after)
        outcomes = await web.database.run(outcomes_of_series, uid)
        try:
            targets = [item.slug for item in (await web.targets())[1].targets if item.enabled]
        except (TransientError, MalformedError):
            targets = []
        return page(
            request,
            "series/one.html",
            series=detail,
            bars=waterfall(timeline(detail), now()),
            instances=instances,
            more=None if instances.next is None else f"/series/{uid}?cursor={instances.next}#instances",
            outcomes=outcomes,
            targets=targets,
            error=error,
        )
