"""The further endpoints of a target as lines of text, and back: ``PACS2@pacs2:104 weight=2 at_once=4``."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hermes_web.errors import FieldProblem, InvalidError

_OPTION = re.compile(r"\s+(weight|at_once)=(\d{1,3})$")
_DOCUMENT = {"weight": "weight", "at_once": "concurrency"}


def lines_of(endpoints: Sequence[Mapping[str, Any]]) -> str:
    """Return one line for each endpoint of a document."""
    return "\n".join(map(_line, endpoints))


def _line(endpoint: Mapping[str, Any]) -> str:
    name = endpoint.get("url") or f"{endpoint['called_aet']}@{endpoint['host']}:{endpoint['port']}"
    weight, at_once = endpoint.get("weight", 1), endpoint.get("concurrency")
    return name + (f" weight={weight}" if weight != 1 else "") + (f" at_once={at_once}" if at_once else "")


def read_lines(text: str, kind: str) -> list[dict[str, Any]]:
    """Return what the lines say, as in a document; raise :class:`InvalidError` that names the line."""
    return [_read(line.strip(), kind) for line in text.split("\n") if line.strip()]


def _read(line: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rest = line
    while (option := _OPTION.search(rest)) is not None:
        found[_DOCUMENT[option[1]]] = int(option[2])
        rest = rest[: option.start()]
    if kind == "stow":
        return {"url": rest, **found}
    aet, at, address = rest.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not (aet and at and host and colon and port.isascii() and port.isdigit() and len(port) < 6):
        raise InvalidError(
            problems=[FieldProblem("endpoints", f"{line[:80]!r} is no endpoint: write a line such as PACS2@pacs2:104")]
        )
    return {"called_aet": aet, "host": host, "port": int(port), **found}
