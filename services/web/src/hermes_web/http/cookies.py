"""The session's cookie: ``__Host-`` (Secure, this host only, every path), HttpOnly, SameSite=Strict."""

from litestar.datastructures import Cookie

from hermes_web.settings import Settings
from hermes_web.web_types import Connection

SECURE_NAME = "__Host-hermes"
PLAIN_NAME = "hermes"


def _name(connection: Connection, settings: Settings) -> str:
    """Return the cookie's name. Browsers take Secure cookies over HTTP from the machine they run on, and only there."""
    plain = settings.http_insecure_cookies and connection.scope["scheme"] == "http"
    return PLAIN_NAME if plain else SECURE_NAME


def session_cookie(connection: Connection, settings: Settings) -> str | None:
    """Return what the browser says its session is."""
    return connection.cookies.get(_name(connection, settings)) or None


def give_session(connection: Connection, settings: Settings, secret: str | None) -> Cookie:
    """Return the cookie that begins a session, or that ends it if ``secret`` is None."""
    name = _name(connection, settings)
    return Cookie(
        key=name,
        value=secret or "",
        path="/",
        max_age=None if secret else 0,
        secure=name == SECURE_NAME,
        httponly=True,
        samesite="strict",
    )
