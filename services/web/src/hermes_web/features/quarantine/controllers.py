"""``/api/v1/quarantine`` and its page: what could not be taken as an instance."""

from collections.abc import Sequence
from urllib.parse import urlencode

from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.response import Response, Stream

from hermes_web.core.cursor import limited
from hermes_web.core.quarantine_reasons import explain_status
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import InvalidError, NotFoundError, UnavailableError, WebError
from hermes_web.features.paging import Listing, within
from hermes_web.features.quarantine import service
from hermes_web.features.quarantine.asking import authorization_of
from hermes_web.features.quarantine.queries import QuarantineItem, list_quarantine
from hermes_web.features.series.api import Cursor, Limit
from hermes_web.features.signin.pages import address_of
from hermes_web.http.answers import Page, page
from hermes_web.http.forms import read_form
from hermes_web.web import principal_of, web_of
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

    @get("/{reception_id:str}/content", opt=ADMIN, media_type="application/octet-stream")
    async def content(self, request: HttpRequest, reception_id: FromPath[str]) -> Stream:
        """Return the bytes as they lie in quarantine: a DICOM file with Hermes' meta information before them."""
        return await _content(request, reception_id)

    @post("/{reception_id:str}/resubmit", opt=ADMIN, status_code=200)
    async def resubmit(self, request: HttpRequest, reception_id: FromPath[str]) -> Response[bytes]:
        """Receive the bytes again under the UIDs that the data set itself has: 200 if that made an instance, else 409
        with the reason. What lies in quarantine stays.
        """
        actor, authorization = principal_of(request).name, await authorization_of(request)
        found = await service.resubmit(web_of(request), authorization, reception_id, actor, address_of(request))
        return Response(found.body, status_code=found.code, media_type="application/json")


async def _content(request: HttpRequest, reception_id: str) -> Stream:
    actor, authorization = principal_of(request).name, await authorization_of(request)
    answer = await service.download(web_of(request), authorization, reception_id, actor, address_of(request))
    name = {"content-disposition": f'attachment; filename="{reception_id}.bin"'}
    return Stream(answer.aiter_bytes(), media_type="application/octet-stream", headers=name)


class QuarantinePages(Controller):
    """The page."""

    path = "/quarantine"
    include_in_schema = False

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> Page:
        """Show the rows, the newest first."""
        return await self._page(request)

    @get("/{reception_id:str}", opt=ADMIN)
    async def download(self, request: HttpRequest, reception_id: FromPath[str]) -> Stream:
        """Return the bytes."""
        return await _content(request, reception_id)

    @post("/resubmit", opt=ADMIN, status_code=200)
    async def resubmit(self, request: HttpRequest) -> Page:
        """Have what was ticked received again, and show what became of each."""
        web, form = web_of(request), await read_form(request)
        try:
            authorization, actor = await authorization_of(request), principal_of(request).name
            outcomes = await service.resubmit_many(web, authorization, form.all("ids"), actor, address_of(request))
        except (InvalidError, NotFoundError, UnavailableError) as error:
            return await self._page(request, error=error)
        return await self._page(request, outcomes)

    @staticmethod
    async def _page(
        request: HttpRequest, outcomes: Sequence[service.Outcome] = (), error: WebError | None = None
    ) -> Page:
        after = request.query_params.get("cursor")
        back = request.query_params.get("within", "")
        found = await web_of(request).database.run(list_quarantine, 100, after, within(back))
        more = None if found.next is None else "/quarantine?" + urlencode({"within": back, "cursor": found.next})
        values = {"found": found, "more": more, "back": back, "outcomes": outcomes, "explain": explain_status}
        reachable = web_of(request).settings.dicomweb_url is not None
        return page(request, "quarantine/list.html", **values, reachable=reachable, error=error)
