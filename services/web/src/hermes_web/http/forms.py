"""Forms of our pages: every field a text, URL-encoded; with a file in it, as multipart."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qsl

from litestar.datastructures import UploadFile

from hermes_web.errors import FieldProblem, InvalidError, MalformedError
from hermes_web.web_types import HttpRequest

_MAX_FIELDS = 3000
_KEPT = "form"


class Form:
    """The fields of a form; what was not sent is empty."""

    def __init__(self, pairs: list[tuple[str, str]], files: Mapping[str, bytes] | None = None) -> None:
        self._pairs = pairs
        self.files = files or {}
        """What was uploaded, by field; the limit is that of a request."""

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a field, without white space around it."""
        return next((value.strip() for key, value in reversed(self._pairs) if key == name), default)

    def has(self, name: str) -> bool:
        """Return whether a field was sent, be it empty."""
        return any(key == name for key, _ in self._pairs)

    def raw(self, name: str) -> str:
        """Return the last value of a field as it was typed."""
        return next((value for key, value in reversed(self._pairs) if key == name), "")

    def lines(self, name: str) -> str:
        """Return the value of a text area with line feeds only."""
        return self.raw(name).replace("\r\n", "\n").strip()

    def all(self, name: str) -> list[str]:
        """Return every value of a field."""
        return [value for key, value in self._pairs if key == name and value]

    def checked(self, name: str) -> bool:
        """Return whether a check box was ticked."""
        return bool(self.text(name))

    def number(self, name: str) -> int:
        """Return a field as a whole number; raise :class:`InvalidError` naming the field."""
        text = self.text(name)
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 15:
            raise InvalidError(problems=[FieldProblem(name, "a whole number is needed")])
        return int(text)

    def filled(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return the given fields that are not empty, under their names in a document."""
        return {target: self.text(name) for name, target in names.items() if self.text(name)}


async def read_form(request: HttpRequest) -> Form:
    """Return the request's form; raise :class:`MalformedError` if it is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        state = request.scope["state"]
        if _KEPT not in state:  # the guard reads the form, too, and the files are closed once they are read
            state[_KEPT] = await _read_multipart(request)
        return cast(Form, state[_KEPT])
    body = await request.body()
    if body and kind != "application/x-www-form-urlencoded":
        raise MalformedError("the form was not sent as application/x-www-form-urlencoded")
    try:
        text = body.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise MalformedError("the form cannot be read") from error
    if any("\0" in value for _, value in pairs):
        raise MalformedError("the form holds a character that is not text")
    return Form(pairs)


async def _read_multipart(request: HttpRequest) -> Form:
    pairs: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    sent = await request.form()
    for name, value in sent.multi_items():
        if isinstance(value, UploadFile):
            files[name] = await value.read()
        else:
            pairs.append((name, str(value)))
    await sent.close()
    if any("\0" in value for _, value in pairs):
        raise MalformedError("the form holds a character that is not text")
    return Form(pairs, {name: content for name, content in files.items() if content})
