"""Around the application: security headers on every answer, and a limit on what a request may hold."""

import json
import secrets
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from hermes_web.errors import MalformedError

MAX_BODY = 4 * 1024 * 1024
_YEAR = 31536000


def content_policy(nonce: str) -> str:
    """Return the content security policy of an answer."""
    return (
        "default-src 'none'; "
        f"script-src 'nonce-{nonce}'; "
        f"style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


class Shell:
    """The outermost layer: what it adds is on every answer, also on those that Litestar gives by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        raw: Any = scope
        if "\0" in str(raw.get("path", "")) or b"%00" in bytes(raw.get("query_string", b"")):
            await _refuse(send)
            return
        nonce = secrets.token_urlsafe(16)
        raw.setdefault("state", {})["nonce"] = nonce
        extra = self._headers(raw, nonce)

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                names = {name.lower() for name, _ in given}
                message["headers"] = [*given, *(item for item in extra if item[0] not in names)]
            await send(message)

        await self._app(scope, receive, shielded)

    @staticmethod
    def _headers(scope: Any, nonce: str) -> list[tuple[bytes, bytes]]:
        found = {
            "content-security-policy": content_policy(nonce),
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            "cache-control": "no-store",
        }
        if scope["scheme"] == "https":
            found["strict-transport-security"] = f"max-age={_YEAR}"
        return [(name.encode(), value.encode()) for name, value in found.items()]


async def _refuse(send: Send) -> None:
    """Answer 400: no address of ours has a NUL character in it."""
    raw: Any = send
    document = MalformedError("the address has a character that is not allowed (NUL)").document()
    head = [(b"content-type", b"application/problem+json"), (b"x-content-type-options", b"nosniff")]
    await raw({"type": "http.response.start", "status": 400, "headers": head})
    await raw({"type": "http.response.body", "body": json.dumps(document).encode()})
