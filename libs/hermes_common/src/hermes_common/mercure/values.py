"""Values of the old file as what they mean: it has grown over years, and much of it was once text."""

from collections.abc import Iterable
from typing import Any

from hermes_common.ids import check_slug
from hermes_common.mercure.report import cleaned

_YES = frozenset({"true", "yes", "1", "on"})


def flag(value: Any) -> bool:
    """Return whether a switch is on; older files have the texts "True" and "False"."""
    return value.strip().lower() in _YES if isinstance(value, str) else value is True or value == 1


def text(value: Any) -> str:
    """Return a text, or a number as one; anything else is empty."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts(value: Any) -> list[str]:
    """Return one text or a list of them, without what is empty, each once."""
    values = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(filter(None, map(text, values))))


def is_set(value: Any) -> bool:
    """Return whether a setting says anything."""
    if isinstance(value, str):
        return value.strip().lower() not in {"", "false"}
    return value not in (None, False, [], {})


def cut(value: str, length: int) -> str:
    """Return a text of at most ``length`` characters, without what is no character."""
    clean = cleaned(value)
    return clean if len(clean) <= length else f"{clean[: length - 1]}…"


def slugs(names: Iterable[str], fallback: str) -> dict[str, str]:
    """Return a short name for each name, no two the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
        base = "-".join(filter(None, letters.split("-")))[:50].strip("-") or fallback
        slug, number = base, 1
        while slug in taken:
            number += 1
            slug = f"{base}-{number}"
        taken.add(slug)
        found[name] = check_slug(slug)
    return found
