"""Pages of series: the list, and everything about one."""

from typing import Any, cast
from urllib.parse import urlencode

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from hermes_common.ids import uid_token
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_web.adapters import saved_views
from hermes_web.core.causes import cause_of
from hermes_web.core.columns import FIXED
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.core.search import QUALIFIERS, STATES, Search, chips, parse_search
from hermes_web.errors import FieldProblem, InvalidError, MalformedError, NotFoundError
from hermes_web.features.deliveries.queries import outcomes_of_series
from hermes_web.features.paging import Listing
from hermes_web.features.series import queries
from hermes_web.features.series.explaining import parts_of
from hermes_web.features.series.export import Format
from hermes_web.features.series.exporting import export_series
from hermes_web.features.series.service import SeriesAction, act, act_on_many
from hermes_web.features.series.timeline import timeline
from hermes_web.features.series.views import SeriesItem
from hermes_web.features.series.waterfall import draw
from hermes_web.features.thumbnails.pages import MASKED
from hermes_web.features.thumbnails.service import OFF, are_on
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.http.viewing import view_of
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

VIEWS = (
    ("", "All"),
    ("status:receiving,completed", "Coming in"),
    ("status:routed", "Under way"),
    ("status:delivered", "Delivered"),
    ("status:unmatched", "Unmatched"),
    ("status:failed,partly_failed", "Failed"),
    ("status:discarded", "Discarded"),
)
"""Searches that people ask for most, and their names."""
LONGEST_SEARCH = 500
EVENTS = 200
_ACTIONS = ("route", "reevaluate", "discard")


def _action(text: str) -> SeriesAction:
    if text not in _ACTIONS:
        raise NotFoundError("there is no such action")
    return cast(SeriesAction, text)


async def _pictures(request: HttpRequest) -> str:
    """Return why no small pictures are shown; an empty text where they are."""
    if view_of(request).masks:
        return f"Pictures are {MASKED}: text that is burned into them may say who the patient is."
    try:
        return "" if await are_on(web_of(request)) else f"{OFF} (Policies)."
    except (TransientError, MalformedError):
        return "The policies cannot be read just now, so no pictures are shown."


async def _targets(web: Web) -> list[str]:
    """Return the targets that a series can be sent to; none while they cannot be read."""
    try:
        return [item.slug for item in (await web.targets())[1].targets if item.enabled]
    except (TransientError, MalformedError):
        return []


class SeriesPages(Controller):
    """Series."""

    path = "/series"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the series that fit a search."""
        return await self._listing(request)

    @get("/_export", opt=VIEWER)
    async def export(self, request: HttpRequest) -> Stream:
        """Return the series that fit a search as a file."""
        asked = request.query_params
        kind: Format = "parquet" if asked.get("format") == "parquet" else "csv"
        masked = view_of(request).masks
        return await export_series(request, asked.get("q", ""), kind, asked.get("columns", ""), masked)

    @post("/_bulk", opt=ADMIN)
    async def bulk(self, request: HttpRequest) -> Page | Redirect:
        """Ask for the same action on the series that were ticked."""
        form = await read_form(request)
        action, actor = _action(form.text("action")), principal_of(request).name
        try:
            asked = await act_on_many(
                web_of(request), form.all("ids"), action, actor, form.text("reason"), form.all("targets")
            )
        except InvalidError as error:
            return await self._listing(request, form.text("q"), error)
        back = f"/series?{urlencode({'q': form.text('q')})}" if form.text("q") else "/series"
        return go(back, "asked" if asked else "unchanged")

    @post("/_views", opt=VIEWER)
    async def keep_view(self, request: HttpRequest) -> Page | Redirect:
        """Keep the search as one of one's own views, or remove one."""
        form, account = await read_form(request), principal_of(request).account
        search, name = form.text("q"), form.text("name")
        if account is None:
            raise NotFoundError("there is no account behind this token")
        database = web_of(request).database
        try:
            if form.text("action") == "remove":
                await database.run(saved_views.remove_view, account, name)
            else:
                parse_search(search)
                if not search or not 0 < len(name) <= saved_views.LONGEST_NAME or len(search) > LONGEST_SEARCH:
                    raise InvalidError(problems=[FieldProblem("name", "give the search a name of 1 to 60 characters")])
                await database.run(saved_views.save_view, account, name, search)
        except InvalidError as error:
            return await self._listing(request, search, error)
        return go(f"/series?{urlencode({'q': search})}" if search else "/series", "saved-view")

    @get("/{uid:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, uid: FromPath[str]) -> Page:
        """Show everything about a series."""
        return await self._one(request, uid)

    @post("/{uid:str}/{action:str}", opt=ADMIN)
    async def ask(self, request: HttpRequest, uid: FromPath[str], action: FromPath[str]) -> Page | Redirect:
        """Route, evaluate again, or discard."""
        form = await read_form(request)
        known, actor = _action(action), principal_of(request).name
        try:
            await act(web_of(request), uid, known, actor, form.text("reason"), form.all("targets"))
        except InvalidError as error:
            return await self._one(request, uid, error)
        return go(f"/series/{uid}", "asked")

    @staticmethod
    async def _listing(request: HttpRequest, asked: str | None = None, problem: InvalidError | None = None) -> Page:
        text = request.query_params.get("q", "") if asked is None else asked
        after = request.query_params.get("cursor")
        at = now()
        try:
            search, error = parse_search(text), problem
        except InvalidError as wrong:
            search, error = Search({}), wrong
        found: Listing[SeriesItem] = Listing(items=[])
        web, account = web_of(request), principal_of(request).account
        if error is None or error is problem:
            found = await web.database.run(queries.list_series, search, 50, after)
        newest = max((item.last_received_at for item in found.items), default=at)
        return page(
            request,
            "series/list.html",
            found=found,
            q=text,
            chips=chips(text),
            more=None if found.next is None else "/series?" + urlencode({"q": text, "cursor": found.next}),
            news="/live/series?" + urlencode({"q": text, "since": newest.isoformat()}),
            error=error,
            states=STATES,
            qualifiers=QUALIFIERS,
            views=VIEWS,
            mine=await web.database.run(saved_views.list_views, account) if account else [],
            targets=await _targets(web),
            first=after is None,
            columns=FIXED,
        )

    @staticmethod
    async def _one(request: HttpRequest, uid: str, error: InvalidError | None = None) -> Page:
        web = web_of(request)
        after = request.query_params.get("cursor")
        detail = await web.database.run(queries.get_series, uid)
        instances = await web.database.run(queries.list_instances, uid, 100, after)
        outcomes = await web.database.run(outcomes_of_series, uid)
        values: dict[str, Any] = {
            "series": detail,
            "token": uid_token(uid),
            "drawing": draw(detail, now()),
            "timeline": timeline(detail),
            "parts_of": parts_of,
            "cause_of": cause_of,
            "instances": instances,
            "more": None if instances.next is None else f"/series/{uid}?cursor={instances.next}#instances",
            "outcomes": outcomes,
            "events": await web.database.run(queries.list_events, uid, EVENTS),
            "targets": await _targets(web),
            "no_pictures": await _pictures(request),
            "error": error,
        }
        return page(request, "series/one.html", **values)
