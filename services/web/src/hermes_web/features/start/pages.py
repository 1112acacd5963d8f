"""The page of the first steps."""

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_common.targettests import TargetTested
from hermes_web.adapters import choices
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import NotFoundError, UnavailableError, WebError
from hermes_web.features.start import service
from hermes_web.features.targets.service import test
from hermes_web.http.answers import Page, go, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class StartPages(Controller):
    """First steps."""

    path = "/start"
    include_in_schema = False

    @get(opt=VIEWER)
    async def show(self, request: HttpRequest) -> Page:
        """Show what is done, what is next, and what to do when that fails."""
        return await self._page(request)

    @post("/test", opt=ADMIN, status_code=200)
    async def test(self, request: HttpRequest) -> Page:
        """Have a target tested; that it passed is remembered."""
        web, form = web_of(request), await read_form(request)
        try:
            tested = await test(web, form.text("target"))
        except (UnavailableError, NotFoundError) as error:
            return await self._page(request, error=error)
        if tested.ok:
            actor = principal_of(request).name
            await web.database.run(choices.choose, choices.TARGET_TESTED, form.text("target"), actor)
        return await self._page(request, tested=tested)

    @post("/skip", opt=ADMIN)
    async def skip(self, request: HttpRequest) -> Redirect:
        """Do not show them on the overview any longer."""
        await web_of(request).database.run(choices.choose, choices.FIRST_STEPS, "yes", principal_of(request).name)
        return go("/", "skipped")

    @post("/resume", opt=ADMIN)
    async def resume(self, request: HttpRequest) -> Redirect:
        """Show them again."""
        await web_of(request).database.run(choices.unchoose, choices.FIRST_STEPS)
        return go("/start")

    @staticmethod
    async def _page(request: HttpRequest, tested: TargetTested | None = None, error: WebError | None = None) -> Page:
        web = web_of(request)
        _, targets = await web.targets()
        return page(
            request,
            "start/start.html",
            progress=await service.progress_of(web),
            targets=targets.targets,
            listening=service.listening(await web.fleet.states()),
            host=request.url.hostname or "",
            rejected=await service.last_rejected(web),
            newest=await service.newest_series(web),
            tested=tested,
            error=error,
        )
