"""Pictures for the pages: always an image, where there is none one that says why."""

from litestar import Controller, get
from litestar.params import FromPath
from litestar.response import Response

from hermes_common.runtime.errors import TransientError
from hermes_web.core.roles import VIEWER
from hermes_web.errors import StateConflictError, UnavailableError
from hermes_web.features.thumbnails.placeholder import placeholder
from hermes_web.features.thumbnails.service import KEEP, find, is_kept, thumbnail
from hermes_web.http.viewing import view_of
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

MASKED = "hidden while names of patients are masked"


class ThumbnailPages(Controller):
    """Images in pages."""

    path = "/series"
    include_in_schema = False

    @get("/{uid:str}/picture", opt=VIEWER, media_type="image/png")
    async def of_series(self, request: HttpRequest, uid: FromPath[str]) -> Response[bytes]:
        """Return the picture of the instance in the middle of a series."""
        return await _image(request, uid, None)

    @get("/{uid:str}/pictures/{reception_id:str}", opt=VIEWER, media_type="image/png")
    async def of_instance(
        self, request: HttpRequest, uid: FromPath[str], reception_id: FromPath[str]
    ) -> Response[bytes]:
        """Return the picture of one instance."""
        return await _image(request, uid, reception_id)


async def _image(request: HttpRequest, uid: str, reception_id: str | None) -> Response[bytes]:
    if view_of(request).masks:
        return _instead(MASKED)
    web = web_of(request)
    try:
        asked = await find(web, uid, reception_id)
    except (StateConflictError, UnavailableError) as error:
        return _instead(error.detail)
    except TransientError:
        return _instead("the bus (NATS) is away")
    headers = {"etag": asked.etag, "cache-control": KEEP, "vary": "cookie"}
    if is_kept(asked, request.headers.get("if-none-match")):
        return Response(b"", status_code=304, headers=headers, media_type="image/png")
    found = await thumbnail(web, asked)
    if found.why_not is not None:
        return _instead(found.reason)
    return Response(found.png, headers=headers, media_type="image/png")


def _instead(reason: str) -> Response[bytes]:
    return Response(placeholder(reason), media_type="image/svg+xml")
