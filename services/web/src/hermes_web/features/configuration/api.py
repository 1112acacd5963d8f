"""The API of a configuration document: GET and PUT with ETag and If-Match, revisions, restoring one."""

from typing import Annotated, Any

from litestar import Controller, Response, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from hermes_common.config import MODELS, Kind, Revision
from hermes_common.secrets import shown
from hermes_web.core.roles import ADMIN, VIEWER
from hermes_web.errors import PreconditionFailedError, PreconditionRequiredError
from hermes_web.features.configuration.history import RevisionItem, find_revision, list_revisions, shown_revision
from hermes_web.features.configuration.history import restore as restored
from hermes_web.web import principal_of, web_of
from hermes_web.web_types import HttpRequest

Comment = Annotated[str, QueryParameter(name="comment", max_length=2000, description="Why; kept with the revision.")]


def etag(revision: Revision) -> str:
    """Return the ETag of a revision."""
    return f'"{revision.revision}"'


def expected_revision(request: HttpRequest) -> int:
    """Return the revision that If-Match names; 428 without it, 412 if it is none of ours."""
    given = request.headers.get("if-match")
    if given is None:
        raise PreconditionRequiredError
    text = given.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise PreconditionFailedError(f"If-Match {given[:40]!r} is not the ETag of a revision")
    return int(text)


def answer(revision: Revision) -> Response[dict[str, Any]]:
    """Return a document with its ETag, without its secrets."""
    return Response(shown(revision.document), headers={"ETag": etag(revision)})


def document_controller(kind: Kind) -> type[Controller]:
    """Return the controller of one kind of document."""
    model: Any = MODELS[kind]

    class DocumentController(Controller):
        path = f"/{kind.value}"
        tags = [kind.value]

        @get(opt=VIEWER, operation_id=f"get_{kind.value}")
        async def read(self, request: HttpRequest) -> Response[dict[str, Any]]:
            """Return the present document; its ETag is its revision."""
            return answer(await web_of(request).config.current(kind))

        @put(opt=ADMIN, operation_id=f"put_{kind.value}")
        async def write(
            self,
            request: HttpRequest,
            data: JSONBody[model],
            comment: Comment = "",
        ) -> Response[dict[str, Any]]:
            """Replace the document as a whole. If-Match has the ETag that the change was made on."""
            expected, author = expected_revision(request), principal_of(request).name
            return answer(await web_of(request).save(kind, data, expected, author, comment))

        @get("/revisions", opt=VIEWER, operation_id=f"list_{kind.value}_revisions")
        async def revisions(self, request: HttpRequest) -> dict[str, list[RevisionItem]]:
            """Return the revisions, newest first, without their documents."""
            return {"items": await list_revisions(web_of(request), kind)}

        @get("/revisions/{number:int}", opt=VIEWER, operation_id=f"get_{kind.value}_revision")
        async def revision(self, request: HttpRequest, number: FromPath[int]) -> Revision:
            """Return one revision with its document."""
            return shown_revision(await find_revision(web_of(request), kind, number))

        @post("/revisions/{number:int}/restore", opt=ADMIN, status_code=200, operation_id=f"restore_{kind.value}")
        async def restore(self, request: HttpRequest, number: FromPath[int]) -> Response[dict[str, Any]]:
            """Save an old revision as a new one, if it differs from the present one, whose ETag If-Match has."""
            web, author = web_of(request), principal_of(request).name
            saved, _ = await restored(web, kind, number, expected_revision(request), author)
            return answer(saved)

    return DocumentController
