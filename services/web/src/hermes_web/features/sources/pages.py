"""The page of sources: who may send, and who has sent."""

import secrets
from typing import Any, cast

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_common.config import Kind, Sources
from hermes_common.passcodes import SALT_LENGTH
from hermes_common.sources import is_open, policy_words
from hermes_web.core.configuration import parse_document
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, PreconditionFailedError, UnavailableError, WebError
from hermes_web.features.sources.api import JudgedSender, judged
from hermes_web.features.sources.changes import changed
from hermes_web.features.sources.seen import seen
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import Form, read_form
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest


async def _seen(web: Web, sources: Sources) -> list[JudgedSender] | None:
    try:
        return [judged(sources, sender) for sender in await web.database.run(seen)]
    except UnavailableError:
        return None


async def _page(request: HttpRequest, error: WebError | None = None, form: Form | None = None) -> Page:
    web = web_of(request)
    revision = await web.config.current(Kind.SOURCES)
    sources = cast(Sources, revision.parsed())
    values: dict[str, Any] = {"revision": revision, "document": sources, "seen": await _seen(web, sources)}
    values |= {"policy": policy_words(sources), "is_open": is_open(sources)}
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
        """Do what one of the buttons says."""
        web, form = web_of(request), await read_form(request)
        sources = cast(Sources, (await web.config.current(Kind.SOURCES)).parsed())
        try:
            document, comment = changed(sources, form, secrets.token_bytes(SALT_LENGTH))
            parse_document(Kind.SOURCES, document)
            await web.save(Kind.SOURCES, document, form.number("revision"), principal_of(request).name, comment)
        except (InvalidError, PreconditionFailedError) as error:
            return await _page(request, error, form)
        return go("/sources", "saved")
