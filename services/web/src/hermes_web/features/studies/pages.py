"""The page of a study."""

from typing import cast

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from hermes_common.runtime.errors import TransientError
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, MalformedError, NotFoundError, StateConflictError, WebError
from hermes_web.features.studies.service import StudyAction, act, show
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class StudyPages(Controller):
    """Studies."""

    path = "/studies"
    include_in_schema = False

    @get("/{uid:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, uid: FromPath[str]) -> Page:
        """Show everything about a study."""
        return await self._one(request, uid)

    @post("/{uid:str}/{action:str}", opt=ADMIN)
    async def ask(self, request: HttpRequest, uid: FromPath[str], action: FromPath[str]) -> Page | Redirect:
        """Take the study as complete, route it, or discard what of it goes nowhere."""
        form = await read_form(request)
        if action not in ("complete", "route", "discard"):
            raise NotFoundError("there is no such action")
        known, actor = cast(StudyAction, action), principal_of(request).name
        try:
            await act(web_of(request), uid, known, actor, form.text("reason"), form.all("targets"))
        except (InvalidError, StateConflictError) as error:
            return await self._one(request, uid, error)
        return go(f"/studies/{uid}", "asked")

    @staticmethod
    async def _one(request: HttpRequest, uid: str, error: WebError | None = None) -> Page:
        web = web_of(request)
        study = await show(web, uid)
        try:
            targets = [item.slug for item in (await web.targets())[1].targets if item.enabled]
        except (TransientError, MalformedError):
            targets = []
        return page(request, "studies/one.html", study=study, targets=targets, error=error)
