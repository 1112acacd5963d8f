"""The sign-in page, and signing out."""

from litestar import Response, get, post
from litestar.response import Redirect

from hermes_web.core.roles import PUBLIC, VIEWER
from hermes_web.errors import TooManyTriesError
from hermes_web.features.signin.service import RefusedError, sign_in, sign_out
from hermes_web.http.answers import Page, go, page
from hermes_web.http.cookies import give_session, session_cookie
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


@get("/sign-in", opt=PUBLIC, include_in_schema=False)
async def sign_in_page(request: HttpRequest) -> Response[str] | Redirect:
    """Show the form."""
    target = local_path(request.query_params.get("next", "/"))
    if request.scope["state"].get("principal") is not None:
        return go(target)
    return page(request, "signin/form.html", target=target, name="", error=None)


@post("/sign-in", opt=PUBLIC, include_in_schema=False, status_code=200, request_max_body_size=16_384)
async def sign_in_form(request: HttpRequest) -> Page | Redirect:
    """Check name and password, and begin a session with a new id."""
    web, form = web_of(request), await read_form(request)
    target, name = local_path(form.text("next", "/")), form.text("name")
    agent, old = request.headers.get("user-agent", ""), session_cookie(request, web.settings)
    try:
        secret = await sign_in(web, name, form.raw("password"), address_of(request), agent, old)
    except (RefusedError, TooManyTriesError) as error:
        return page(request, "signin/form.html", error.status, target=target, name=name[:100], error=error)
    answer = go(target)
    answer.set_cookie(give_session(request, web.settings, secret))
    return answer


@post("/sign-out", opt=VIEWER, include_in_schema=False)
async def sign_out_form(request: HttpRequest) -> Redirect:
    """End the session."""
    web = web_of(request)
    await sign_out(web, principal_of(request), address_of(request))
    answer = go("/sign-in", "out")
    answer.set_cookie(give_session(request, web.settings, None))
    return answer
