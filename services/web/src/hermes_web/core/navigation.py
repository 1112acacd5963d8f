"""The main menu: in which group a page stands, with which sign, and which one is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_GROUPS: Final = {
    "Images": (
        "/",
        "/flow",
        "/series",
        "/series?q=status:unmatched",
        "/queues",
        "/deliveries",
        "/errors",
        "/quarantine",
        "/storage",
    ),
    "Routing": ("/rules", "/targets", "/sources", "/associations", "/policies"),
}
_REST: Final = "Administration"
_ICONS: Final = {
    "/": "overview",
    "/flow": "flow",
    "/series": "series",
    "/series?q=status:unmatched": "unmatched",
    "/queues": "queues",
    "/deliveries": "deliveries",
    "/errors": "errors",
    "/quarantine": "quarantine",
    "/storage": "storage",
    "/rules": "rules",
    "/targets": "targets",
    "/sources": "sources",
    "/associations": "associations",
    "/policies": "policies",
    "/alerts": "alerts",
    "/audit": "audit",
    "/users": "users",
    "/system": "system",
    "/start": "start",
}

_BELOW: Final = {"studies": "/series", "alerting": "/alerts", "password": "/users", "tokens": "/users"}
"""Pages that have no entry of their own: the first part of their address, and the entry below which they stand."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu."""

    link: str
    text: str
    icon: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that belong together."""

    name: str
    entries: tuple[Entry, ...]


def menu(pages: Sequence[tuple[str, str]], path: str, query: str = "") -> list[Group]:
    """Return the menu with the page at ``path`` marked; a page that no group names stands in the last one."""
    here = _here([link for link, _ in pages], path, query)
    found: dict[str, list[Entry]] = {name: [] for name in (*_GROUPS, _REST)}
    for link, text in pages:
        group = next((name for name, links in _GROUPS.items() if link in links), _REST)
        found[group].append(Entry(link, text, _ICONS.get(link, "page"), link == here))
    for name, links in _GROUPS.items():
        found[name].sort(key=lambda entry: links.index(entry.link))
    return [Group(name, tuple(entries)) for name, entries in found.items() if entries]


def _here(links: Sequence[str], path: str, query: str) -> str | None:
    """Return the entry that leads here: the one with this query, else the longest beginning of the address."""
    whole = f"{path}?{query}".replace("%3A", ":")
    if whole in links:
        return whole
    path = path.removeprefix("/history")  # of rules stands below Rules, and so on
    beginning = path.split("/", 2)[1] if path != "/" else ""
    path = _BELOW.get(beginning, path)
    fitting = [link for link in links if link == path or (link != "/" and path.startswith(f"{link}/"))]
    return max(fitting, key=len, default=None)
