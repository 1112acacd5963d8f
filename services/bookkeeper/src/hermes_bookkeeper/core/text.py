"""Text that PostgreSQL takes: no NUL, which it refuses, and no lone surrogates, which are not UTF-8."""

import json
import re
from typing import Any

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def clean(text: str) -> str:
    """Return ``text`` with NUL and lone surrogates replaced by U+FFFD."""
    return _UNUSABLE.sub("\ufffd", text)


def clean_value(value: Any) -> Any:
    """Return a JSON value with every string in it cleaned, names included."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(name): clean_value(item) for name, item in value.items()}
        case list() | tuple():
            return [clean_value(item) for item in value]
        case _:
            return value


def to_json(value: Any) -> str:
    """Return a value as JSON that a JSONB column takes."""
    return json.dumps(clean_value(value), ensure_ascii=False, separators=(",", ":"))


def clean_json(body: bytes) -> str:
    """Return a JSON document as one that a JSONB column takes; raise ``ValueError`` if it is none.

    A document without suspicious escapes is passed on as it is: nearly all are.
    """
    text = body.decode()
    return to_json(json.loads(text)) if _ESCAPED.search(body) else text
