"""The sign-in page, the second step, and signing out."""

from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.response import Redirect

from hermes_web.adapters.sessions import HALF as HALF_LASTS
from hermes_web.core.roles import PUBLIC, VIEWER
from hermes_web.errors import ForbiddenError, TooManyTriesError, WebError
from hermes_web.features.signin.service import (
    FactorNeeded,
    RefusedError,
    StartAgainError,
    WrongCodeError,
    give_code,
    sign_in,
    sign_out,
)
from hermes_web.http.answers import Page, go, page
from hermes_web.http.cookies import HALF, brief_cookie, give_brief, give_session, session_cookie
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest


def local_path(text: str) -> str:
    """Return a path on this site, whatever was asked for: ``//host`` and ``/\\host`` lead away."""
    plain = text.isascii() and text.isprintable() and text.startswith("/") and "\\" not in text
    return text if plain and not text.startswith("//") else "/"


def address_of(request: HttpRequest) -> str:
    """Return the address of who asks."""
    return "" if request.client is None else request.client.host


def sign_in_again(request: HttpRequest, target: str, name: str = "", error: WebError | None = None) -> Page:
    """Show the form: with what was typed, and what is wrong with it."""
    settings = web_of(request).settings
    return page(
        request,
        "signin/form.html",
        200 if error is None else error.status,
        target=target,
        name=name[:100],
        error=error,
        local=settings.local_sign_in,
        sso=None if settings.oidc_issuer is None else f"/sign-in/sso?{urlencode({'next': target})}",
        label=settings.oidc_label,
        was_external=request.query_params.get("was") == "sso",
    )


@get("/sign-in", opt=PUBLIC, include_in_schema=False)
async def sign_in_page(request: HttpRequest) -> Response[str] | Redirect:
    """Show the form."""
    target = local_path(request.query_params.get("next", "/"))
    if request.scope["state"].get("principal") is not None:
        return go(target)
    return sign_in_again(request, target)


@post("/sign-in", opt=PUBLIC, include_in_schema=False, status_code=200, request_max_body_size=16_384)
async def sign_in_form(request: HttpRequest) -> Page | Redirect:
    """Check name and password, and begin a session with a new id, or ask for the second factor."""
    web, form = web_of(request), await read_form(request)
    target, name = local_path(form.text("next", "/")), form.text("name")
    agent, old = request.headers.get("user-agent", ""), session_cookie(request, web.settings)
    if not web.settings.local_sign_in:
        error = ForbiddenError("signing in with a password is switched off here", "Use single sign-on.")
        return sign_in_again(request, target, name, error)
    try:
        found = await sign_in(web, name, form.raw("password"), address_of(request), agent, old)
    except (RefusedError, TooManyTriesError) as error:
        return sign_in_again(request, target, name, error)
    if isinstance(found, FactorNeeded):
        answer = go(f"/sign-in/code?{urlencode({'next': target})}")
        seconds = int(HALF_LASTS.total_seconds())
        answer.set_cookie(give_brief(request, web.settings, HALF, found.secret, seconds))
        return answer
    answer = go(target)
    answer.set_cookie(give_session(request, web.settings, found.secret))
    return answer


@get("/sign-in/code", opt=PUBLIC, include_in_schema=False)
async def second_step_page(request: HttpRequest) -> Page:
    """Ask for the second factor."""
    return page(request, "signin/code.html", target=local_path(request.query_params.get("next", "/")), error=None)


@post("/sign-in/code", opt=PUBLIC, include_in_schema=False, status_code=200, request_max_body_size=16_384)
async def second_step_form(request: HttpRequest) -> Page | Redirect:
    """Check the second factor, and begin a session with a new id."""
    web, form = web_of(request), await read_form(request)
    target = local_path(form.text("next", "/"))
    agent, old = request.headers.get("user-agent", ""), session_cookie(request, web.settings)
    half = brief_cookie(request, web.settings, HALF)
    try:
        secret = await give_code(web, half, form.text("code"), address_of(request), agent, old)
    except StartAgainError as error:
        return sign_in_again(request, target, error=error)
    except (WrongCodeError, TooManyTriesError) as error:
        return page(request, "signin/code.html", error.status, target=target, error=error)
    answer = go(target)
    answer.set_cookie(give_session(request, web.settings, secret))
    answer.set_cookie(give_brief(request, web.settings, HALF, None, 0))
    return answer


@post("/sign-out", opt={**VIEWER, "enrols": True}, include_in_schema=False)
async def sign_out_form(request: HttpRequest) -> Redirect:
    """End the session."""
    web, principal = web_of(request), principal_of(request)
    await sign_out(web, principal, address_of(request))
    answer = go("/sign-in?was=sso" if principal.is_external else "/sign-in", "out")
    answer.set_cookie(give_session(request, web.settings, None))
    return answer
