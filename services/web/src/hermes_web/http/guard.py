"""Who may ask for what: every route declares its role, and what declares none is refused at start.

Runs before every handler. The decision is taken from the handler that was found, never from the address.
"""

from dataclasses import replace

from litestar import Litestar
from litestar.connection import ASGIConnection, Request
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import HTTPRoute

from hermes_web.adapters.sessions import by_session, by_token
from hermes_web.core.forgery import SAFE_METHODS, origin_refusal, token_fits
from hermes_web.core.roles import Principal, Role, allows, needs_factor
from hermes_web.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    ForgeryError,
    SecondFactorNeededError,
    SignInNeededError,
)
from hermes_web.http.cookies import session_cookie
from hermes_web.http.forms import read_form
from hermes_web.web import web_of
from hermes_web.web_types import Connection

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "_csrf"


class UndeclaredRouteError(Exception):
    """A route without a role: the application does not start."""


def check_declarations(app: Litestar) -> None:
    """Raise :class:`UndeclaredRouteError` if any route does not say whom it is for."""
    for route in app.routes:
        handlers = route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]
        for handler in handlers:
            options_only = getattr(handler, "http_methods", set()) == {"OPTIONS"}  # Litestar's own: says Allow
            if not options_only and not isinstance(handler.opt.get("role"), Role):
                raise UndeclaredRouteError(f"{route.path}: {handler} declares no role")


async def authorise(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]  # any
    """Let a request through, or raise why not; puts who asks into the request's state."""
    required = handler.opt.get("role")
    if not isinstance(required, Role):
        if isinstance(connection, Request) and connection.method == "OPTIONS":
            return
        raise ForbiddenError("this route declares no role")
    api = bool(handler.opt.get("api"))
    principal = await _identify(connection, api, required)
    connection.scope["state"]["principal"] = principal
    if not allows(required, principal):
        raise SignInNeededError if principal is None else ForbiddenError
    if principal is not None and principal.must_enrol and required is not Role.PUBLIC and not handler.opt.get("enrols"):
        raise SecondFactorNeededError
    if isinstance(connection, Request) and connection.method not in SAFE_METHODS:
        await _check_forgery(connection, principal, required, api)


async def reader_of(connection: Connection) -> Principal | None:
    """Return who reads a page of an address without a route, to which no guard belongs; None if nobody is known."""
    web = web_of(connection)
    cookie = session_cookie(connection, web.settings)
    if cookie is None:
        return None
    try:
        found = await web.database.look(by_session, cookie)
    except DatabaseUnavailableError:
        return None
    return None if found is None else replace(found, must_enrol=needs_factor(web.settings.second_factor, found))


async def _identify(connection: Connection, api: bool, required: Role) -> Principal | None:
    """Return who asks. A cookie speaks for the API only together with the token that our pages know."""
    if handler_is_static(connection):
        return None
    web = web_of(connection)
    try:
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        if api and scheme.lower() == "bearer" and secret.strip():
            return await web.database.look(by_token, secret.strip())
        cookie = session_cookie(connection, web.settings)
        if cookie is None:
            return None
        found = await web.database.look(by_session, cookie)
    except DatabaseUnavailableError:
        if required is Role.PUBLIC:
            return None
        raise
    if found is not None and api and not token_fits(connection.headers.get(CSRF_HEADER), found.csrf):
        return None
    return None if found is None else replace(found, must_enrol=needs_factor(web.settings.second_factor, found))


def handler_is_static(connection: Connection) -> bool:
    """Return whether the route says that nobody needs to be known."""
    return bool(connection.route_handler.opt.get("anonymous"))


async def _check_forgery(request: Request, principal: Principal | None, required: Role, api: bool) -> None:  # type: ignore[type-arg]  # any
    if principal is not None and principal.via == "token":
        return
    headers = request.headers
    refusal = origin_refusal(headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site"))
    if refusal is not None:
        raise ForgeryError(refusal)
    if principal is None or required is Role.PUBLIC or api:
        return
    given = headers.get(CSRF_HEADER) or (await read_form(request)).text(CSRF_FIELD)
    if not token_fits(given, principal.csrf):
        raise ForgeryError("the form's token is missing or belongs to another session")
