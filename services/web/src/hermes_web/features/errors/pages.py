"""The page of errors: failed deliveries by cause, and retrying all of one with its progress."""

from datetime import datetime
from urllib.parse import urlencode

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_common.ids import check_slug
from hermes_common.runtime.clock import now
from hermes_web.core.causes import CODE
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import MalformedError
from hermes_web.features.deliveries.service import BULK, Wish, act_on_many
from hermes_web.features.errors.queries import MOST, failures, progress
from hermes_web.http.answers import Page, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class ErrorPages(Controller):
    """Errors."""

    path = "/errors"
    include_in_schema = False

    @get(opt=VIEWER)
    async def groups(self, request: HttpRequest) -> Page:
        """Show the failed deliveries by target and cause."""
        target = request.query_params.get("target", "")
        found, is_cut = await web_of(request).database.run(failures, target or None)
        return page(request, "errors/list.html", groups=found, target=target, most=MOST if is_cut else None, bulk=BULK)

    @post("/retry", opt=ADMIN)
    async def retry(self, request: HttpRequest) -> Redirect:
        """Restart every failed delivery of one group, and show what becomes of them."""
        form = await read_form(request)
        target, code = check_slug(form.text("target")), form.text("code")
        web, actor, since = web_of(request), principal_of(request).name, now()
        found, _ = await web.database.run(failures, target)
        ids = next((group.ids for group in found if group.cause.code == code), [])[:BULK]
        if not CODE.fullmatch(code) or not ids:
            return Redirect("/errors?done=unchanged", status_code=303)
        result = await act_on_many(web, Wish("restart", actor, form.text("reason")), [], target, ids)
        query = {"target": target, "since": since.isoformat(), "asked": result.asked, "actor": actor, "done": "asked"}
        return Redirect(f"/errors/progress?{urlencode(query)}", status_code=303)

    @get("/progress", opt=VIEWER)
    async def progress(self, request: HttpRequest) -> Page:
        """Show what became of the deliveries that somebody retried."""
        params = request.query_params
        target, actor, asked = check_slug(params.get("target", "")), params.get("actor", ""), params.get("asked", "0")
        try:
            since = datetime.fromisoformat(params.get("since", ""))
        except ValueError as error:
            raise MalformedError("since is no instant") from error
        if since.tzinfo is None or not asked.isdigit() or len(asked) > 5:
            raise MalformedError("this address is not one that a retry leads to")
        states = await web_of(request).database.run(progress, target, actor, since)
        return page(
            request, "errors/progress.html", target=target, actor=actor, asked=int(asked), since=since, states=states
        )
