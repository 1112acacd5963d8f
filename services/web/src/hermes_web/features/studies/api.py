"""``/api/v1/studies``."""

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.series.api import Accepted, Ask, AskRoute
from hermes_web.features.studies.service import act, show
from hermes_web.features.studies.views import StudyDetail
from hermes_web.http.viewing import as_may_be_seen
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


class StudiesController(Controller):
    """Studies: what they wait for, what was decided, actions."""

    path = "/studies"
    tags = ["studies"]

    @get("/{uid:str}", opt=VIEWER)
    async def one(self, request: HttpRequest, uid: FromPath[str]) -> StudyDetail:
        """Return a study: its series, what it waits for and until when, and what was decided."""
        return as_may_be_seen(request, await show(web_of(request), uid))

    @post("/{uid:str}/complete", opt=ADMIN, status_code=202)
    async def complete(self, request: HttpRequest, uid: FromPath[str], data: JSONBody[Ask | None] = None) -> Accepted:
        """Take a study as complete now, whatever it waits for; also one that is held."""
        reason = "" if data is None else data.reason
        return Accepted(command_id=await act(web_of(request), uid, "complete", principal_of(request).name, reason))

    @post("/{uid:str}/discard", opt=ADMIN, status_code=202)
    async def discard(self, request: HttpRequest, uid: FromPath[str], data: JSONBody[Ask | None] = None) -> Accepted:
        """Discard what of a study is undecided and goes nowhere yet; what was sent stays sent."""
        reason = "" if data is None else data.reason
        return Accepted(command_id=await act(web_of(request), uid, "discard", principal_of(request).name, reason))

    @post("/{uid:str}/route", opt=ADMIN, status_code=202)
    async def route(self, request: HttpRequest, uid: FromPath[str], data: JSONBody[AskRoute]) -> Accepted:
        """Send every series of a study to targets, whatever the rules said."""
        actor = principal_of(request).name
        return Accepted(command_id=await act(web_of(request), uid, "route", actor, data.reason, data.targets))
