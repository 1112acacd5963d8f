"""Pages and redirects as answers; errors as problem documents or pages that say what to do."""

import logging
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import quote

from litestar import Response
from litestar.enums import MediaType
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Redirect
from litestar.types import Receive, Scope, Send

from hermes_common.ids import InvalidIdentifierError
from hermes_common.runtime.errors import TransientError
from hermes_common.validation_words import plain_words
from hermes_web.core.configuration import path_of
from hermes_web.errors import (
    FieldProblem,
    InvalidError,
    MalformedError,
    NoPageError,
    NotFoundError,
    SecondFactorNeededError,
    SignInNeededError,
    TooLargeError,
    UnavailableError,
    WebError,
)
from hermes_web.http.guard import reader_of
from hermes_web.http.viewing import view_of
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

log = logging.getLogger(__name__)

_UNKNOWN_WORD = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)

Page = Response[str]


def page(request: HttpRequest, template: str, code: int = 200, **values: Any) -> Page:
    """Return a page. A form that is shown again with what is wrong in it is a page like any other: 200."""
    content = web_of(request).renderer.page(
        template,
        {"names_for": web_of(request).settings.patient_names, **values},
        principal=request.scope["state"].get("principal"),
        nonce=str(request.scope["state"].get("nonce", "")),
        path=request.scope["path"],
        query=request.scope["query_string"].decode("latin-1"),
        view=view_of(request),
        done=request.query_params.get("done"),
    )
    return Response(content, status_code=code, media_type=MediaType.HTML)


def go(path: str, done: str | None = None) -> Redirect:
    """Return a redirect after a form; ``done`` is one of the words in ``rendering.DONE``."""
    mark = "" if done is None else f"{'&' if '?' in path else '?'}done={done}"
    return Redirect(path + mark, status_code=303)


def problem(request: HttpRequest, error: Exception) -> Response[Any]:
    """Answer any error: the one map from errors to HTTP."""
    known = _unreadable(request, error) or _unknown_word(request, error) or translate(error)
    if type(known) is WebError:
        log.error("an unexpected error at %s", request.scope["path"], exc_info=error)
    if _is_api(request):
        headers = {"WWW-Authenticate": "Bearer"} if known.status == 401 else {}
        if known.status == 503:
            headers["Retry-After"] = "5"
        return Response(
            known.document(), status_code=known.status, media_type="application/problem+json", headers=headers
        )
    if isinstance(known, SignInNeededError):
        return Redirect(f"/sign-in?next={quote(_next(request), safe='/')}", status_code=303)
    if isinstance(known, SecondFactorNeededError) and request.method == "GET":
        return Redirect("/account/second-factor", status_code=303)
    if known.status == 405:
        known = NoPageError()
    if request.scope.get("route_handler") is None:
        return _LatePage(request, known)
    return _error_page(request, known)


def _error_page(request: HttpRequest, known: WebError) -> Page:
    status = 200 if isinstance(known, UnavailableError) and request.method == "GET" else known.status
    return page(request, "error.html", status, error=known)


class _LatePage(Response[str]):
    """The page of an address without a route: no guard has looked who reads it, so that this asks before it is drawn.

    Handlers of errors cannot wait; what sends their answer can.
    """

    def __init__(self, request: HttpRequest, known: WebError) -> None:
        super().__init__("", status_code=known.status)
        self._request, self._known = request, known

    def to_asgi_response(self, *given: Any, **named: Any) -> Any:
        """Return what finds out who reads, and then sends the page, with the menu for somebody who is signed in."""

        async def send_page(scope: Scope, receive: Receive, send: Send) -> None:
            self._request.scope["state"]["principal"] = await reader_of(self._request)
            answer = _error_page(self._request, self._known)
            await answer.to_asgi_response(*given, **named)(scope, receive, send)

        return send_page


def _unreadable(request: HttpRequest, error: Exception) -> WebError | None:
    """Return what to say of a body that cannot be decoded: nested too deeply, or no UTF-8."""
    if request.method not in {"POST", "PUT", "PATCH"}:
        return None
    match error:
        case RecursionError():
            known = MalformedError("lists and objects lie in each other too deeply")
        case UnicodeDecodeError():
            known = MalformedError("the body is not UTF-8", "Send JSON in UTF-8.")
        case _:
            return None
    log.warning("a request at %s cannot be decoded: %s", request.scope["path"], known)
    return known


def _unknown_word(request: HttpRequest, error: Exception) -> WebError | None:
    """Return what to say of a word in the query that is none of those that its parameter knows: with all that are."""
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return None
    problems = []
    for item in error.extra:
        found = _UNKNOWN_WORD.fullmatch(str(item.get("message", ""))) if isinstance(item, Mapping) else None
        known = _words_of(request, str(item["key"])) if found else None
        if found and known:
            name, words = known
            problems.append(FieldProblem(name, f"'{found[1]}' is not one of {', '.join(words)}"))
    return (
        MalformedError("; ".join(f"{item.field}: {item.message}" for item in problems), problems=problems)
        if problems
        else None
    )


def _words_of(request: HttpRequest, parameter: str) -> tuple[str, list[str]] | None:
    """Return the name in the query and the words of a parameter that is an enumeration, or several of one."""
    handler = request.scope.get("route_handler")
    field = None if handler is None else handler.parsed_fn_signature.parameters.get(parameter)
    if field is None:
        return None
    asked = getattr(field.kwarg_definition, "query", None) or getattr(field.kwarg_definition, "name", None) or parameter
    left = [field]
    while left:
        one = left.pop()
        if isinstance(one.annotation, type) and issubclass(one.annotation, Enum):
            return asked, [str(item.value) for item in one.annotation]
        left += one.inner_types
    return None


def translate(error: Exception) -> WebError:
    """Return any error as one of ours."""
    if isinstance(error, WebError):
        return error
    if isinstance(error, HTTPException):
        return _translate_litestar(error)
    if isinstance(error, TransientError):
        return UnavailableError(str(error))
    if isinstance(error, InvalidIdentifierError):
        return NotFoundError(str(error))
    return WebError("This is a mistake of the program; it is in the log")


def _translate_litestar(error: HTTPException) -> WebError:
    match error:
        case ValidationException():
            return _validation(error)
        case HTTPException(status_code=404):
            advice = "Check the address. Pages are in the menu; what programs ask for is in /api/v1/openapi.json."
            return NotFoundError("there is nothing at this address", advice)
        case HTTPException(status_code=413):
            return TooLargeError("the request is larger than 4 MB")
        case _:
            return _foreign(error)


def _validation(error: ValidationException) -> WebError:
    problems = []
    extra = error.extra if isinstance(error.extra, list) else []
    for item in extra:
        if isinstance(item, Mapping):
            key = str(item.get("key") or "")
            field = path_of([_step(part) for part in key.split(".")]) if key else "body"
            problems.append(FieldProblem(field, plain_words(str(item.get("message", "")))))
    in_query = any(isinstance(item, Mapping) and item.get("source") in {"query", "path", "header"} for item in extra)
    if in_query:
        return MalformedError("; ".join(f"{item.field}: {item.message}" for item in problems), problems=problems)
    return InvalidError(problems=problems) if problems else MalformedError(str(error.detail))


def _step(part: str) -> str | int:
    """Return a place in a list as a number, and anything else as it is: names of fields can be digits of any script."""
    return int(part) if part.isascii() and part.isdigit() and len(part) < 10 else part


def _foreign(error: HTTPException) -> WebError:
    known = MalformedError(str(error.detail))
    known.status = error.status_code  # type: ignore[misc]  # the instance says what Litestar found
    known.title = str(error.detail)  # type: ignore[misc]
    return known


def _is_api(request: HttpRequest) -> bool:
    """Return whether a program asked: of a route by its declaration, of no route by the address."""
    handler = request.scope.get("route_handler")
    declared = handler is not None and handler.opt.get("api")
    return bool(declared) or request.scope["path"].startswith("/api/")


def _next(request: HttpRequest) -> str:
    return request.scope["path"] if request.method == "GET" else "/"
