"""Pages of the history of configuration documents: who, when, why, what changed, restore."""

import difflib
import json
from typing import Any

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.config import Kind, Revision
from hermes_common.secrets import shown
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import NotFoundError
from hermes_web.features.configuration.history import find_revision, list_revisions, restore, shown_revision
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError as error:
        raise NotFoundError(f"there is no configuration document {text!r}") from error


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of a unified difference with ``+``, ``-`` or a space, without headers."""
    lines = list(difflib.unified_diff(_lines(shown(before)), _lines(shown(after)), lineterm="", n=4))[2:]
    return [(line[:1], line[1:]) for line in lines if not line.startswith("@")]


def _lines(document: dict[str, Any]) -> list[str]:
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True).splitlines()


class HistoryPages(Controller):
    """The history of each kind of document."""

    path = "/history/{kind:str}"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest, kind: FromPath[str]) -> Page:
        """Show the revisions."""
        web, known = web_of(request), _kind(kind)
        current = await web.config.current(known)
        revisions = await list_revisions(web, known)
        return page(request, "configuration/history.html", kind=known.value, revisions=revisions, current=current)

    @get("/{number:int}", opt=VIEWER)
    async def one(self, request: HttpRequest, kind: FromPath[str], number: FromPath[int]) -> Page:
        """Show what one revision changed, and how it differs from the present one."""
        web, known = web_of(request), _kind(kind)
        revision, current = await find_revision(web, known, number), await web.config.current(known)
        before = await self._before(request, known, number)
        return page(
            request,
            "configuration/revision.html",
            kind=known.value,
            revision=shown_revision(revision),
            current=shown_revision(current),
            changed=difference(before, revision.document),
            since=difference(revision.document, current.document),
        )

    @post("/{number:int}/restore", opt=ADMIN)
    async def restore(self, request: HttpRequest, kind: FromPath[str], number: FromPath[int]) -> Redirect:
        """Save an old revision as a new one."""
        web, known, form = web_of(request), _kind(kind), await read_form(request)
        _, is_new = await restore(web, known, number, form.number("revision"), principal_of(request).name)
        return go(f"/history/{known.value}", "restored" if is_new else "unchanged")

    @staticmethod
    async def _before(request: HttpRequest, kind: Kind, number: int) -> dict[str, Any]:
        try:
            found: Revision = await find_revision(web_of(request), kind, number - 1)
        except NotFoundError:
            return {}
        return found.document
