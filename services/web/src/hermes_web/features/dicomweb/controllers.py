"""``POST /dicom-web/studies``: STOW-RS, passed on to the receiver as it comes; nothing of it stays here (ADR-0013)."""

from typing import Any

import httpx
from litestar import post
from litestar.response import Response

from hermes_web.core.roles import SENDER
from hermes_web.errors import UnavailableError
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

_PASSED_ON = ("authorization", "content-type", "accept")
_PASSED_BACK = ("retry-after",)
_LIMITS = httpx.Timeout(connect=5, read=120, write=60, pool=5)


@post(
    ["/dicom-web/studies", "/dicom-web/studies/{study:str}"],
    opt={**SENDER, "api": True},
    request_max_body_size=None,
    tags=["dicomweb"],
)
async def store_instances(request: HttpRequest) -> Response[bytes]:
    """Store instances (PS3.18 10.5): multipart/related, application/dicom; the answer says what became of each."""
    base = web_of(request).settings.dicomweb_url
    if base is None:
        raise UnavailableError("no receiver takes STOW-RS here: set HERMES_DICOMWEB_URL to the address of one")
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    url = base.rstrip("/") + request.url.path
    try:
        async with httpx.AsyncClient(timeout=_LIMITS, trust_env=False) as client:
            answer = await client.post(url, content=request.stream(), headers=headers)
    except httpx.HTTPError as error:
        raise UnavailableError(f"the receiver does not answer: {error or type(error).__name__}") from error
    back: dict[str, Any] = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
    media = answer.headers.get("content-type", "application/octet-stream")
    return Response(answer.content, status_code=answer.status_code, media_type=media, headers=back)
