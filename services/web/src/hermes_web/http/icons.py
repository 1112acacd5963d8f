"""The signs of the pages, drawn on 24 by 24 units with a line of the text's colour."""

from typing import Final

from markupsafe import Markup

_SHAPES: Final = {
    "overview": "M4 4h7v9H4zM13 4h7v5h-7zM13 11h7v9h-7zM4 15h7v5H4z",
    "flow": "M4 6h4c4 0 4 5 8 5h4M4 18h4c4 0 4-5 8-5M4 12h3",
    "series": "M4 8l8-4 8 4-8 4zM4 12l8 4 8-4M4 16l8 4 8-4",
    "unmatched": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9.5 9.3a2.5 2.5 0 1 1 3.7 2.3c-.8.4-1.2 1-1.2 1.9M12 16.8v.1",
    "queues": "M4 6h16M4 11h16M4 16h9M17 14v6M14.5 17.5 17 20l2.5-2.5",
    "deliveries": "M3 12h13M11 6l6 6-6 6M20 5v14",
    "errors": "M12 4 2.8 19.5h18.4zM12 10v4.2M12 17v.1",
    "quarantine": "M12 3l7.5 3v5.5c0 4.6-3.1 7.9-7.5 9.5-4.4-1.6-7.5-4.9-7.5-9.5V6zM9.5 9.5l5 5M14.5 9.5l-5 5",
    "rules": "M6 4v5a3 3 0 0 0 3 3h6a3 3 0 0 1 3 3v5M15 17.5l3 2.7 3-2.7M18 4v3M18 4h.01M6 20v-4",
    "targets": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M12 11.5v1",
    "sources": "M4 5h16v10H4zM9 20h6M12 15v5M8 10h2l1.5-2.5L13.5 12l1-2H16",
    "associations": "M9 12h6M10 7H7a5 5 0 0 0 0 10h3M14 7h3a5 5 0 0 1 0 10h-3",
    "policies": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7v5l3.5 2",
    "alerts": "M6 10a6 6 0 0 1 12 0c0 5 2 6 2 7H4c0-1 2-2 2-7M10 20.2h4",
    "audit": "M6 3h9l4 4v14H6zM14.5 3v4.5H19M9 12h7M9 16h5",
    "users": "M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M2.5 20c.5-3.5 3-5.3 6.5-5.3s6 1.8 6.5 5.3"
    "M16 5.3a3.4 3.4 0 0 1 0 6.4"
    "M18 15.2c2 .7 3.2 2.3 3.5 4.8",
    "system": "M4 5h16v6H4zM4 13h16v6H4zM7.5 8h.1M7.5 16h.1M11 8h6M11 16h6",
    "start": "M5 21V4M5 5h12l-2.5 4L17 13H5",
    "page": "M6 3h9l4 4v14H6zM14.5 3v4.5H19",
    "search": "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M15.3 15.3 20 20",
    "menu": "M4 7h16M4 12h16M4 17h16",
    "view": "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12"
    "M12 9.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6",
    "help": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9.6 9.4a2.4 2.4 0 1 1 3.5 2.2c-.8.4-1.1 1-1.1 1.8M12 16.6v.1",
    "user": "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8M4.5 20.5c.8-4 3.6-6 7.5-6s6.7 2 7.5 6",
    "check": "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M8 12.3l2.8 2.8L16 9.5",
    "commands": "M7 8l4 4-4 4M13 16h5M3.5 4h17v16h-17z",
}


def icon(name: str) -> Markup:
    """Return a sign as markup; it says nothing to a screen reader, so a word has to stand beside it."""
    shape = _SHAPES.get(name, _SHAPES["page"])
    return Markup('<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{}"/></svg>').format(shape)
