"""The page of sources: who may send, and who has sent."""

from datetime import datetime
from typing import Any, cast

from litestar import Controller, get, post
from litestar.response import Redirect
from sqlalchemy import Connection, func, select

from hermes_common.config import Kind, SourceMode, Sources
from hermes_common.ledger import associations
from hermes_web.core.configuration import parse_document
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, NotFoundError, PreconditionFailedError, UnavailableError, WebError
from hermes_web.features.paging import View
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

_FIELDS = ("slug", "name", "calling_aet", "called_aet", "network", "comment")


class Seen(View):
    """A sender that opened associations."""

    calling_aet: str
    address: str
    associations: int
    instances: int
    last_seen: datetime


def seen(connection: Connection) -> list[Seen]:
    """Return who has sent, the last one first."""
    table = associations
    last = func.max(table.c.opened_at).label("last_seen")
    rows = connection.execute(
        select(
            table.c.calling_aet,
            table.c.address,
            func.count().label("associations"),
            func.coalesce(func.sum(table.c.instances), 0).label("instances"),
            last,
        )
        .where(table.c.opened_at > func.now() - func.make_interval(0, 0, 0, 30))
        .group_by(table.c.calling_aet, table.c.address)
        .order_by(last.desc())
        .limit(200)
    )
    return [Seen.model_validate(row) for row in rows]


async def _seen(web: Web) -> list[Seen] | None:
    try:
        return await web.database.run(seen)
    except UnavailableError:
        return None


async def _page(request: HttpRequest, error: WebError | None = None, form: Form | None = None) -> Page:
    web = web_of(request)
    revision = await web.config.current(Kind.SOURCES)
    sources = cast(Sources, revision.parsed())
    senders = await _seen(web)
    verdicts = {
        (item.calling_aet, item.address): sources.judge(item.calling_aet, "", item.address) for item in senders or ()
    }
    values: dict[str, Any] = {"revision": revision, "document": sources, "seen": senders, "verdicts": verdicts}
    return page(request, "sources/list.html", **values, error=error, form=form or Form([]))


class SourcePages(Controller):
    """Sources."""

    path = "/sources"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show who may send and who has sent."""
        return await _page(request)

    @post(opt=ADMIN)
    async def change(self, request: HttpRequest) -> Page | Redirect:
        """Add an entry, remove one, move one up, or change what holds for everybody else."""
        web, form = web_of(request), await read_form(request)
        sources = cast(Sources, (await web.config.current(Kind.SOURCES)).parsed())
        try:
            document, comment = self._changed(sources, form)
            parse_document(Kind.SOURCES, document)
            await web.save(Kind.SOURCES, document, form.number("revision"), principal_of(request).name, comment)
        except (InvalidError, PreconditionFailedError) as error:
            return await _page(request, error, form)
        return go("/sources", "saved")

    @staticmethod
    def _changed(sources: Sources, form: Form) -> tuple[dict[str, Any], str]:
        document: dict[str, Any] = sources.model_dump(mode="json")
        entries: list[dict[str, Any]] = document["sources"]
        slug = form.text("slug")
        match form.text("action"):
            case "mode":
                document["mode"] = form.text("mode")
                return document, f"mode: {SourceMode.OPEN if form.text('mode') == 'open' else SourceMode.ALLOW_LIST}"
            case "add":
                entry = {**form.filled({name: name for name in _FIELDS}), "allow": form.text("allow") != "deny"}
                document["sources"] = [*entries, {"slug": "", "name": "", **entry}]
                return document, f"{slug}: added"
            case "remove":
                document["sources"] = [entry for entry in entries if entry["slug"] != slug]
                return document, f"{slug}: removed"
            case "up":
                place = next((index for index, entry in enumerate(entries) if entry["slug"] == slug), 0)
                if place:
                    entries[place - 1], entries[place] = entries[place], entries[place - 1]
                return document, f"{slug}: moved up"
            case _:
                raise NotFoundError("there is no such action")
