"""A multipart body (RFC 2046 5.1) taken apart while it comes: nothing but one read and a boundary's length is held."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_PREAMBLE: Final = 16 * 1024
MAX_HEADERS: Final = 16 * 1024
_PARAMETER: Final = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


class MalformedMultipart(Exception):  # noqa: N818 - named after the situation
    """The body is no multipart body; the message says where it stops being one."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins; header names are in lower case."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Bytes of the part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


Piece: TypeAlias = PartBegins | PartData | PartEnds


def media_type(value: str) -> tuple[str, dict[str, str]]:
    """Return type and parameters of a Content-Type, both with names in lower case (RFC 9110 8.3.1)."""
    kind, _, rest = value.partition(";")
    parameters = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PARAMETER.findall(";" + rest)
    }
    return kind.strip().lower(), parameters


class MultipartReader:
    """:meth:`feed` it the body in order; when it has come whole, :attr:`is_complete` says whether its end was there."""

    def __init__(self, boundary: str) -> None:
        """``boundary`` as the Content-Type names it; ValueError for one that cannot be. RFC 2046 allows 70 characters,
        Orthanc sends 73.
        """
        if not re.fullmatch(r"[0-9A-Za-z'()+_,\-./:=? ]{0,199}[0-9A-Za-z'()+_,\-./:=?]", boundary):
            raise ValueError("the boundary is missing, longer than 200, or not of the characters of RFC 2046")
        self._mark = b"\r\n--" + boundary.encode("ascii")
        self._buffer = bytearray(b"\r\n")
        self._state = "preamble"
        self._skipped = 0

    @property
    def is_complete(self) -> bool:
        """Whether the closing boundary has come."""
        return self._state == "epilogue"

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what the next bytes bring; raises :class:`MalformedMultipart`."""
        self._buffer += data
        while True:
            before = self._state, len(self._buffer)
            match self._state:
                case "preamble":
                    self._take_preamble()
                case "boundary":
                    self._take_boundary()
                case "headers":
                    yield from self._take_headers()
                case "body":
                    yield from self._take_body()
                case _:
                    self._buffer.clear()
                    return
            if (self._state, len(self._buffer)) == before:
                return

    def _take_preamble(self) -> None:
        at = self._buffer.find(self._mark)
        drop = at + len(self._mark) if at >= 0 else max(len(self._buffer) - len(self._mark) + 1, 0)
        self._skipped += drop
        if self._skipped > MAX_PREAMBLE:
            raise MalformedMultipart("there is no boundary at the start of the body")
        del self._buffer[:drop]
        if at >= 0:
            self._state = "boundary"

    def _take_boundary(self) -> None:
        """What follows the boundary: two hyphens, or padding and a line's end."""
        if self._buffer.startswith(b"--"):
            self._state = "epilogue"
            return
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEADERS:
                raise MalformedMultipart("a boundary is followed by something else than a line's end")
            return
        if self._buffer[:end].strip(b" \t"):
            raise MalformedMultipart("a boundary is followed by something else than a line's end")
        del self._buffer[:end]
        self._state = "headers"

    def _take_headers(self) -> Iterator[Piece]:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEADERS:
                raise MalformedMultipart(f"the headers of a part are longer than {MAX_HEADERS} bytes")
            return
        headers: dict[str, str] = {}
        for line in bytes(self._buffer[:end]).decode("latin-1").split("\r\n"):
            name, colon, value = line.partition(":")
            if line and not colon:
                raise MalformedMultipart("the headers of a part cannot be read")
            if line:
                headers[name.strip().lower()] = value.strip()
        del self._buffer[: end + 2]  # the line's end before a boundary may be the one that ends the headers
        self._state = "body"
        self._skipped = 2
        yield PartBegins(headers)

    def _take_body(self) -> Iterator[Piece]:
        at = self._buffer.find(self._mark)
        if at >= 0 and len(self._buffer) < at + len(self._mark) + 2:
            return  # whether it is a boundary stands in the two bytes behind it
        if at < 0:
            keep = len(self._mark) - 1
            yield from self._emit(max(len(self._buffer) - keep, 0))
            return
        behind = bytes(self._buffer[at + len(self._mark) : at + len(self._mark) + 2])
        if behind not in (b"--", b"\r\n") and behind[:1] not in (b" ", b"\t"):
            yield from self._emit(at + 2)  # it only looks like one
            return
        yield from self._emit(at)
        del self._buffer[: len(self._mark)]
        self._state = "boundary"
        yield PartEnds()

    def _emit(self, count: int) -> Iterator[Piece]:
        """Take ``count`` bytes of the buffer as data, without the line's end that belongs to the headers."""
        skip = min(self._skipped, count)
        data = bytes(self._buffer[skip:count])
        self._skipped -= skip
        del self._buffer[:count]
        if data:
            yield PartData(data)
