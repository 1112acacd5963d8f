"""The HTTP API of the router (``/api/v1``), as the command line uses it; every call has a time limit."""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from hermes_cli.connection import Connection
from hermes_cli.errors import ApiError, ChangedMeanwhileError, UnreachableError

PREFIX = "/api/v1"
PAGE = 200
_SERVER_SLOW = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A configuration document as the router has it: its content, its revision, and the tag to save it with."""

    document: dict[str, Any]
    revision: int | None
    etag: str


class Api:
    """A client of one router. A context manager; raises :class:`ApiError` for whatever is not success."""

    def __init__(self, connection: Connection) -> None:
        self.url = connection.url
        headers = {"Accept": "application/json"}
        if connection.token:
            headers["Authorization"] = f"Bearer {connection.token}"
        self._client = httpx.Client(
            base_url=connection.url,
            headers=headers,
            timeout=httpx.Timeout(_SERVER_SLOW, connect=5.0),
            trust_env=not _is_local(connection.url),  # a proxy of the environment does not reach this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **query: object) -> Any:
        """Return what a path below ``/api/v1`` answers."""
        return _content(self._request("GET", path, query={k: v for k, v in query.items() if v not in (None, "")}))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Do an action; return its answer."""
        return _content(self._request("POST", path, body={} if body is None else body))

    def lines(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Do an action that answers with one JSON object a line; yield each as it comes."""
        try:
            with self._client.stream("POST", PREFIX + path, json=body) as response:
                if not response.is_success:
                    response.read()
                    raise _problem(response)
                for line in response.iter_lines():
                    if line.strip():
                        yield _object(line, response)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise self._unreachable(problem) from problem

    def content(self, path: str, **query: object) -> Iterator[bytes]:
        """Yield the parts of a file that a path below ``/api/v1`` answers with, as they come."""
        asked = {name: str(value) for name, value in query.items() if value not in (None, "")}
        try:
            with self._client.stream("GET", PREFIX + path, params=asked, headers={"Accept": "*/*"}) as response:
                if not response.is_success:
                    response.read()
                    raise _problem(response)
                yield from response.iter_bytes()
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise self._unreachable(problem) from problem

    def restore(self, kind: str, number: int, etag: str) -> Stored:
        """Save an old revision of a document as a new one, on top of that of ``etag``."""
        response = self._request("POST", f"/{kind}/revisions/{number}/restore", headers={"If-Match": etag})
        tag = response.headers.get("ETag", "")
        return Stored(document=_content(response), revision=_revision(tag), etag=tag)

    def pages(self, path: str, limit: int, **query: object) -> tuple[list[dict[str, Any]], bool]:
        """Return up to ``limit`` items of a list, and whether there are more."""
        items: list[dict[str, Any]] = []
        for page in self._pages(path, min(limit, PAGE), query):
            items += page
            if len(items) > limit:
                break
        return items[:limit], len(items) > limit

    def _pages(self, path: str, size: int, query: Mapping[str, object]) -> Iterator[list[dict[str, Any]]]:
        cursor: object = None
        while True:
            answer = self.get(path, **query, limit=size, cursor=cursor)
            yield list(answer["items"])
            cursor = answer.get("next")
            if not cursor:
                return

    def document(self, kind: str) -> Stored:
        """Return a configuration document: ``rules``, ``targets``, ``sources`` or ``policies``."""
        response = self._request("GET", f"/{kind}")
        etag = response.headers.get("ETag", "")
        return Stored(document=_content(response), revision=_revision(etag), etag=etag)

    def save(self, kind: str, document: Mapping[str, Any], etag: str, comment: str = "") -> Stored:
        """Replace a configuration document; raise :class:`ChangedMeanwhileError` when ``etag`` is not the last."""
        response = self._request(
            "PUT", f"/{kind}", query={"comment": comment} if comment else {}, body=document, headers={"If-Match": etag}
        )
        tag = response.headers.get("ETag", "")
        return Stored(document=_content(response), revision=_revision(tag), etag=tag)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            response = self._client.request(
                method,
                PREFIX + path,
                params={name: str(value) for name, value in (query or {}).items() if value is not None},
                json=body,
                headers=dict(headers or {}),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise self._unreachable(problem) from problem
        if not response.is_success:
            raise _problem(response)
        return response

    def _unreachable(self, problem: Exception) -> UnreachableError:
        return UnreachableError(
            f"the router at {self.url} does not answer ({problem or type(problem).__name__}). Check that it runs "
            f"(`hermes doctor` says what is missing) and that the address is right (--url, HERMES_URL)"
        )


def segment(text: str) -> str:
    """Return a value that may stand as one segment of a path, whatever it contains."""
    return quote(text, safe="")


def _content(response: httpx.Response) -> Any:
    if not response.content:
        return {}
    try:
        return response.json()
    except ValueError as problem:
        raise UnreachableError(
            f"{response.url} does not answer with JSON: is that the address of a Hermes router? (--url, HERMES_URL)"
        ) from problem


def _object(line: str, response: httpx.Response) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UnreachableError(
            f"{response.url} does not answer with JSON: is that the address of a Hermes router? (--url, HERMES_URL)"
        )
    return content


def _problem(response: httpx.Response) -> ApiError:
    status, detail = response.status_code, _detail(response)
    match status:
        case 401:
            return ApiError(
                "the router wants to know who you are: give a token that is valid (HERMES_TOKEN or --token; an "
                "administrator makes one on the page Users and tokens)",
                status,
            )
        case 403:
            return ApiError(f"this token may not do that: {detail or 'it takes an administrator'}", status)
        case 404:
            return ApiError(detail or f"the router knows nothing at {response.url.path}", status)
        case 412:
            return ChangedMeanwhileError(
                "somebody else saved in the meantime; nothing was changed. Export again, make your change in that, "
                "and apply it",
                status,
            )
        case _:
            return ApiError(detail or f"the router answered {status} {response.reason_phrase}", status)


def _detail(response: httpx.Response) -> str:
    """Return the words of a problem document (RFC 9457), with its list of errors if it has one."""
    try:
        body = response.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    lines = [str(body.get("detail") or body.get("title") or "")]
    errors = body.get("errors")
    if not isinstance(errors, list):
        errors = []
    lines += [_error_line(error) for error in errors[:20]]
    lines.append(str(body.get("action") or ""))
    return "\n".join(line for line in lines if line)


def _error_line(error: object) -> str:
    if not isinstance(error, dict):
        return f"  {error}"
    place = f", line {error['line']}, column {error.get('column', 1)}" if error.get("line") else ""
    hint = f"; did you mean {error['suggestion']}?" if error.get("suggestion") else ""
    return f"  {error.get('field', '')}{place}: {error.get('message', '')}{hint}"


def _revision(etag: str) -> int | None:
    digits = "".join(mark for mark in etag if mark.isdigit())
    return int(digits) if digits and len(digits) < 19 else None


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
