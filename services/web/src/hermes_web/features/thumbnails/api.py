"""``/api/v1/series/{uid}/thumbnail`` and that of each of its instances."""

from typing import Annotated, Any

from litestar import Controller, Request, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter
from litestar.response import Response

from hermes_common.thumbnails import NoPicture
from hermes_web.core.roles import VIEWER
from hermes_web.errors import NamesMaskedError, NotFoundError, UnavailableError
from hermes_web.features.thumbnails.service import KEEP, find, is_kept, thumbnail
from hermes_web.http.viewing import may_see_names
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match", description="The ETag of what is kept.")]
_KEPT = {304: ResponseSpec(data_container=None, description="What is kept is what there is.", generate_examples=False)}


class ThumbnailsController(Controller):
    """Small pictures of images."""

    path = "/series"
    tags = ["series"]

    @get("/{uid:str}/thumbnail", opt=VIEWER, media_type="image/png", responses=_KEPT)
    async def of_series(
        self, request: HttpRequest, uid: FromPath[str], if_none_match: IfNoneMatch = None
    ) -> Response[bytes]:
        """Return a small picture of the instance in the middle of a series as PNG; 404 with the reason if there is
        none, 409 where pictures are switched off.
        """
        return await _answer(request, uid, None, if_none_match)

    @get("/{uid:str}/instances/{reception_id:str}/thumbnail", opt=VIEWER, media_type="image/png", responses=_KEPT)
    async def of_instance(
        self,
        request: HttpRequest,
        uid: FromPath[str],
        reception_id: FromPath[str],
        if_none_match: IfNoneMatch = None,
    ) -> Response[bytes]:
        """Return a small picture of one instance, of several frames that in the middle, as PNG; 404 with the reason if
        there is none, 409 where pictures are switched off.
        """
        return await _answer(request, uid, reception_id, if_none_match)


async def _answer(
    request: Request[Any, Any, Any], uid: str, reception_id: str | None, if_none_match: str | None
) -> Response[bytes]:
    if not may_see_names(request):
        raise NamesMaskedError("text that is burned into pictures may name the patient")
    web = web_of(request)
    asked = await find(web, uid, reception_id)
    headers = {"etag": asked.etag, "cache-control": KEEP}
    if is_kept(asked, if_none_match):
        return Response(b"", status_code=304, headers=headers, media_type="image/png")
    found = await thumbnail(web, asked)
    if found.why_not is NoPicture.UNAVAILABLE:
        raise UnavailableError(found.reason)
    if found.why_not is not None:
        raise NotFoundError(found.reason, "There is no picture of this instance; the images themselves are unaffected.")
    return Response(found.png, headers=headers, media_type="image/png")
