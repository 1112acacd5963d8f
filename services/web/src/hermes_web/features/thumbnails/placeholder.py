"""A calm picture in place of one that there is not, which says why: SVG, pure."""

import textwrap
from typing import Final
from xml.sax.saxutils import escape

SIDE: Final = 256
_LINE: Final = 25
_LINES: Final = 7


def placeholder(reason: str) -> bytes:
    """Return a square with a few words. What stands in them is text, whatever it holds."""
    words = "".join(char if char.isprintable() else " " for char in reason)
    lines = textwrap.wrap(words, _LINE, max_lines=_LINES, placeholder=" …") or ["no picture"]
    top = SIDE // 2 - 12 * (len(lines) - 1) + 6
    texts = "".join(
        f'<text x="{SIDE // 2}" y="{top + 24 * number}" text-anchor="middle">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}" '
        f'font-family="sans-serif" font-size="18" fill="#d5dbe3"><title>{escape(words[:400])}</title>'
        f'<rect width="{SIDE}" height="{SIDE}" fill="#39424e"/>{texts}</svg>'
    ).encode()
