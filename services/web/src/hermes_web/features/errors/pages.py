"""The page of errors: failed deliveries by cause, retrying all of one with its progress, and what is tried again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
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
from hermes_web.features.errors.queries import MOST, UNDER_WAY, failures, progress, trying_again, under_way
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

_ID = re.compile(r"[0-9a-f-]{36}")


class ErrorPages(Controller):
    """Errors."""

    path = "/errors"
    include_in_schema = False

    @get(opt=VIEWER)
    async def groups(self, request: HttpRequest) -> Page:
        """Show the failed deliveries by target and cause, and those that are tried again by themselves."""
        target = request.query_params.get("target", "")
        run = web_of(request).database.run
        found, is_cut = await run(failures, target or None)
        again, is_more = await run(trying_again, target or None)
        values = {"groups": found, "again": again, "target": target, "bulk": BULK}
        most = {"most": MOST if is_cut else None, "most_again": MOST if is_more else None}
        return page(request, "errors/list.html", **values, **most)

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
        return go(f"/errors/progress?{Retry(result.bulk_id, target, actor, since, result.asked).query}", "asked")

    @post("/undo", opt=ADMIN)
    async def undo(self, request: HttpRequest) -> Redirect:
        """Hold every delivery of a retry that has not ended: nothing more is sent, and nothing is given up."""
        form = await read_form(request)
        retry = _retry(form.text)
        ids = await web_of(request).database.run(under_way, retry.id, retry.target, BULK)
        asked = 0
        if ids:
            reason = f"a retry was undone: {form.text('reason')}" if form.text("reason") else "a retry was undone"
            wish = Wish("hold", principal_of(request).name, reason)
            asked = (await act_on_many(web_of(request), wish, [], retry.target, ids)).asked
        return go(f"/errors/progress?{retry.query}", "undone" if asked else "unchanged")

    @get("/progress", opt=VIEWER)
    async def progress(self, request: HttpRequest) -> Page:
        """Show what became of the deliveries that somebody retried."""
        params = request.query_params
        retry = _retry(lambda name: str(params.get(name, "")))
        states = await web_of(request).database.run(progress, retry.id, retry.target)
        return page(request, "errors/progress.html", retry=retry, states=states, under_way=UNDER_WAY)


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry of one group: what the address of its progress says. Who asked for it, and when, is for people alone."""

    id: str
    """Of the bulk action."""
    target: str
    actor: str
    since: datetime
    asked: int

    @property
    def query(self) -> str:
        """The address' query."""
        said = {"id": self.id, "target": self.target, "since": self.since.isoformat()}
        return urlencode({**said, "asked": self.asked, "actor": self.actor})


def _retry(text: Callable[[str], str]) -> Retry:
    """Return the retry that parameters name; raise what says which of them is none."""
    target, actor, asked = check_slug(text("target")), text("actor"), text("asked") or "0"
    try:
        since = datetime.fromisoformat(text("since"))
    except ValueError as error:
        raise MalformedError("since is no instant") from error
    bulk = text("id")
    if since.tzinfo is None or not (asked.isascii() and asked.isdigit()) or len(asked) > 5 or not _ID.fullmatch(bulk):
        raise MalformedError("this address is not one that a retry leads to")
    return Retry(bulk, target, actor, since, int(asked))
