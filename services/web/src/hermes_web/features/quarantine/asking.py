"""The receiver is asked for what lies in quarantine: this service has no key to the object store."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import httpx

from hermes_common.runtime.clock import now
from hermes_web.adapters import accounts
from hermes_web.adapters.hashing import new_secret
from hermes_web.errors import NotFoundError, UnavailableError
from hermes_web.web import Web, principal_of, web_of
from hermes_web.web_types import HttpRequest

_LIMITS = httpx.Timeout(connect=5, read=120, write=60, pool=5)
BRIEF = timedelta(minutes=3)
"""How long the token lasts with which a page asks for who is signed in."""


def known_id(reception_id: str) -> str:
    """Return what is the id of a reception; raise :class:`NotFoundError` for anything else."""
    if re.fullmatch(r"[0-9a-f]{32}", reception_id) is None:
        raise NotFoundError("there is nothing of that id in quarantine")
    return reception_id


class ReceiverAnswer:
    """An answer of the receiver, read once; its connection ends with its body."""

    def __init__(self, client: httpx.AsyncClient, answer: httpx.Response) -> None:
        self._client = client
        self._answer = answer
        self.status_code = answer.status_code
        self.headers = answer.headers

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        try:
            async for data in self._answer.aiter_bytes():
                yield data
        finally:
            await self.close()

    async def aread(self) -> bytes:
        """Return the whole body; for small ones."""
        try:
            return await self._answer.aread()
        finally:
            await self.close()

    async def close(self) -> None:
        """Let the connection go."""
        with suppress(httpx.HTTPError):
            await self._answer.aclose()
        await self._client.aclose()


async def authorization_of(request: HttpRequest) -> str:
    """Return with what the receiver is asked: the token of the request, or a brief one of who is signed in."""
    given = request.headers.get("authorization")
    if given is not None:
        return given
    web, secret = web_of(request), f"hermes_{new_secret()}"
    name = principal_of(request).name
    await web.database.run(accounts.create_brief_token, name, secret, now() + BRIEF)
    await web.access.push()
    return f"Bearer {secret}"


async def ask_receiver(web: Web, authorization: str, method: str, path: str) -> ReceiverAnswer:
    """Ask; raise what says why there is no answer of use."""
    base = web.settings.dicomweb_url
    if base is None:
        raise UnavailableError("no receiver can be asked: set HERMES_DICOMWEB_URL to the address of one")
    client = httpx.AsyncClient(timeout=_LIMITS, trust_env=False)
    try:
        asked = client.build_request(method, base.rstrip("/") + path, headers={"authorization": authorization})
        answer = ReceiverAnswer(client, await client.send(asked, stream=True))
    except httpx.HTTPError as error:
        await client.aclose()
        raise UnavailableError(f"the receiver does not answer: {error or type(error).__name__}") from error
    if answer.status_code in (200, 409):
        return answer
    await answer.close()
    if answer.status_code in (401, 403):
        raise UnavailableError("the receiver does not know this token yet", "Try again in a few seconds.")
    if answer.status_code == 404:
        raise NotFoundError("there is nothing of that id in quarantine")
    raise UnavailableError(f"the receiver answered {answer.status_code}")
