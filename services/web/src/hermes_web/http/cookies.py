"""The session's cookie: ``__Host-`` (Secure, this host only, every path), HttpOnly, SameSite=Strict.

Beside it two that live for minutes: one while the second factor is waited for, and one while somebody is at the
identity provider, which is Lax because the browser comes back from another site.
"""

from typing import Literal

from litestar.datastructures import Cookie

from hermes_web.settings import Settings
from hermes_web.web_types import Connection

SECURE_NAME = "__Host-hermes"
PLAIN_NAME = "hermes"


HALF = "-half"
PROVIDER = "-sso"


def _name(connection: Connection, settings: Settings, kind: str = "") -> str:
    """Return the cookie's name. Browsers take Secure cookies over HTTP from the machine they run on, and only there."""
    plain = settings.http_insecure_cookies and connection.scope["scheme"] == "http"
    return (PLAIN_NAME if plain else SECURE_NAME) + kind


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


def brief_cookie(connection: Connection, settings: Settings, kind: str) -> str | None:
    """Return what a short-lived cookie holds."""
    return connection.cookies.get(_name(connection, settings, kind)) or None


def give_brief(connection: Connection, settings: Settings, kind: str, value: str | None, seconds: int) -> Cookie:
    """Return a short-lived cookie, or what ends it if ``value`` is None."""
    name = _name(connection, settings, kind)
    same_site: Literal["lax", "strict"] = "lax" if kind == PROVIDER else "strict"
    secure = name.startswith("__Host-")
    age = seconds if value else 0
    return Cookie(name, path="/", value=value or "", max_age=age, secure=secure, httponly=True, samesite=same_site)
