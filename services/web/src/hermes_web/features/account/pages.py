"""One's own account."""

from litestar import Controller, get, post
from litestar.response import Redirect

from hermes_web.adapters.sessions import list_sessions
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import (
    InvalidError,
    NotFoundError,
    StateConflictError,
    TooManyTriesError,
    UnavailableError,
    WebError,
)
from hermes_web.features.account import service
from hermes_web.features.signin.pages import address_of
from hermes_web.features.users.service import end_session
from hermes_web.http.answers import Page, go, page
from hermes_web.http.cookies import give_session
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

_ENROLS = {**VIEWER, "enrols": True}
_REFUSALS = (InvalidError, StateConflictError, TooManyTriesError, UnavailableError)


class AccountPages(Controller):
    """Password, second factor and sessions of who asks; open to those who have to set a factor up first."""

    path = "/account"
    include_in_schema = False

    @get(opt=_ENROLS)
    async def show(self, request: HttpRequest) -> Page:
        """Show the account."""
        return await self._page(request)

    @post("/session", opt=_ENROLS)
    async def end_one(self, request: HttpRequest) -> Redirect:
        """End one of one's own sessions."""
        web, form, name = web_of(request), await read_form(request), _account(request)
        await end_session(web, name, form.text("session"), name)
        return go("/account", "session")

    @post("/names", opt=ADMIN)
    async def names(self, request: HttpRequest) -> Page | Redirect:
        """Have names of patients shown in this session, with a reason, or masked again; both are in the audit."""
        web, form, principal = web_of(request), await read_form(request), principal_of(request)
        try:
            await service.show_names(
                web, principal, form.text("show") == "yes", form.text("reason"), address_of(request)
            )
        except InvalidError as error:
            return await self._page(request, error)
        return go("/account", "names")

    @get("/second-factor", opt=_ENROLS)
    async def factor(self, request: HttpRequest) -> Page:
        """Show how a second factor is set up: first the password, then the QR code."""
        return await self._factor(request)

    @post("/second-factor", opt=_ENROLS)
    async def propose(self, request: HttpRequest) -> Page | Redirect:
        """Make a secret."""
        web, form = web_of(request), await read_form(request)
        try:
            await service.propose(web, principal_of(request), form.raw("old"), address_of(request))
        except _REFUSALS as error:
            return await self._factor(request, error)
        return go("/account/second-factor")

    @post("/second-factor/confirm", opt=_ENROLS, status_code=200)
    async def confirm(self, request: HttpRequest) -> Page:
        """Put it into force and show the recovery codes this once."""
        web, form = web_of(request), await read_form(request)
        agent = request.headers.get("user-agent", "")
        try:
            codes, secret = await service.confirm(
                web, principal_of(request), form.text("code"), address_of(request), agent
            )
        except _REFUSALS as error:
            return await self._factor(request, error)
        answer = page(request, "account/codes.html", codes=codes)
        answer.set_cookie(give_session(request, web.settings, secret))
        return answer

    @post("/second-factor/codes", opt=VIEWER, status_code=200)
    async def renew(self, request: HttpRequest) -> Page:
        """Show new recovery codes this once."""
        form = await read_form(request)
        try:
            codes = await service.renew_codes(
                web_of(request), principal_of(request), form.text("code"), address_of(request)
            )
        except _REFUSALS as error:
            return await self._page(request, error)
        return page(request, "account/codes.html", codes=codes)

    @post("/second-factor/off", opt=VIEWER)
    async def off(self, request: HttpRequest) -> Page | Redirect:
        """Turn it off; all sessions end."""
        web, form = web_of(request), await read_form(request)
        password, code = form.raw("old"), form.text("code")
        try:
            await service.turn_off(web, principal_of(request), password, code, address_of(request))
        except _REFUSALS as error:
            return await self._page(request, error)
        answer = go("/sign-in", "second-factor")
        answer.set_cookie(give_session(request, web.settings, None))
        return answer

    @staticmethod
    async def _page(request: HttpRequest, error: WebError | None = None) -> Page:
        web, principal = web_of(request), principal_of(request)
        name = _account(request)
        return page(
            request,
            "account/account.html",
            sessions=await web.database.run(list_sessions, name),
            mine=principal.session[:12],
            codes_left=await web.database.run(service.codes_left, name),
            asked_of_all=web.settings.second_factor,
            error=error,
        )

    @staticmethod
    async def _factor(request: HttpRequest, error: WebError | None = None) -> Page:
        web, principal = web_of(request), principal_of(request)
        secret = await service.proposed(web, principal)
        shown = None if secret is None else " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
        drawn = None if secret is None else service.drawing(secret, principal.name)
        return page(request, "account/factor.html", secret=shown, drawing=drawn, error=error)


def _account(request: HttpRequest) -> str:
    """Return the account of who asks; a token of the installation has none."""
    name = principal_of(request).account
    if name is None:
        raise NotFoundError("there is no account behind this token")
    return name
