"""``/api/v1/quarantine`` and its page: what could not be taken as an instance."""

from urllib.parse import urlencode

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Response, Stream

from hermes_web.core.cursor import limited
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.features.paging import Listing, within
from hermes_web.features.quarantine.asking import ask_receiver, known_id
from hermes_web.features.quarantine.queries import QuarantineItem, list_quarantine
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class QuarantineController(Controller):
    """Quarantine: what could not be taken as an instance."""

    path = "/quarantine"
    tags = ["quarantine"]

    @get(opt=VIEWER)
    async def listing(
        self, request: HttpRequest, cursor: Cursor = None, limit: Limit = None
    ) -> Listing[QuarantineItem]:
        """Return the rows, the newest first."""
        return await web_of(request).database.run(list_quarantine, limited(limit), cursor)

    @get("/{reception_id:str}/content", opt=ADMIN)
    async def content(self, request: HttpRequest, reception_id: FromPath[str]) -> Stream:
        """Return the bytes as they lie in quarantine: a DICOM file with Hermes' meta information before them."""
        answer = await ask_receiver(request, "GET", f"/quarantine/{known_id(reception_id)}")
        name = {"content-disposition": f'attachment; filename="{reception_id}.bin"'}
        return Stream(answer.aiter_bytes(), media_type="application/octet-stream", headers=name)

    @post("/{reception_id:str}/resubmit", opt=ADMIN, status_code=200)
    async def resubmit(self, request: HttpRequest, reception_id: FromPath[str]) -> Response[bytes]:
        """Receive the bytes again under the UIDs that the data set itself has: 200 if that made an instance, else 409
        with the reason. What lies in quarantine stays.
        """
        answer = await ask_receiver(request, "POST", f"/quarantine/{known_id(reception_id)}/resubmit")
        body = await answer.aread()
        return Response(body, status_code=answer.status_code, media_type=answer.headers.get("content-type"))


@get("/quarantine", opt=VIEWER, include_in_schema=False)
async def quarantine_page(request: HttpRequest) -> Page:
    """Show the rows, the newest first."""
    after = request.query_params.get("cursor")
    back = request.query_params.get("within", "")
    found = await web_of(request).database.run(list_quarantine, 100, after, within(back))
    more = None if found.next is None else "/quarantine?" + urlencode({"within": back, "cursor": found.next})
    return page(request, "quarantine/list.html", found=found, more=more, back=back)
