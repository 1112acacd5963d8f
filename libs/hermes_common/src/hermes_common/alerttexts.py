"""What an alert says to people: templates with a few named fields, filled in with values that nobody has to trust.

``[$site] $severity: $subject``: ``$name`` or ``${name}`` stands for a field, ``$$`` for a dollar sign. There is nothing
else: no expressions, no access to anything but the text of these fields.
"""

import re
import string
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

FIELDS: Final = {
    "site": "the name of this router",
    "kind": "the kind of the alert, such as target_down",
    "subject": "the kind in words, and what it is about",
    "about": "what it is about: a target, a service, a sender",
    "severity": "warning or critical",
    "state": "raised, over, or still open",
    "message": "what happened",
    "reason": "why it is over, or nothing",
    "raised": "when it was raised, in UTC",
    "duration": "for how long it has been, or was, open",
    "link": "the address of the page of alerts, or nothing",
}
TITLE: Final = "[$site] $state: $subject"
BODY: Final = "$message\n$reason\nSeverity $severity, raised $raised, open for $duration.\n$link"
LONGEST_TITLE: Final = 250
LONGEST_BODY: Final = 8000
_LONGEST_VALUE: Final = 2000

_UNPRINTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060-\u206f\ud800-\udfff\ufeff]")
_MENTION = re.compile(r"(@)(?=\w)|(<)(?=[!@#])")


def check_template(template: str) -> str:
    """Return ``template`` if every field in it is there; raise ``ValueError`` that names what is wrong."""
    parsed = string.Template(template)
    if not parsed.is_valid():
        raise ValueError("a $ must be followed by the name of a field, such as $subject; write $$ for a dollar sign")
    unknown = sorted(set(parsed.get_identifiers()) - FIELDS.keys())
    if unknown:
        raise ValueError(f"there is no field ${unknown[0]}; there are {', '.join('$' + name for name in FIELDS)}")
    return template


Template = Annotated[str, AfterValidator(check_template)]


def harmless(value: str) -> str:
    """Return a value as one that can stand in any message: printable, bounded, and calling nobody.

    Control characters, invisible ones and those that turn the direction of text become spaces; ``@name`` and ``<!``
    are broken up, so that a sender's text cannot call everybody in a chat.
    """
    text = _UNPRINTED.sub(" ", value)[:_LONGEST_VALUE]
    return _MENTION.sub(lambda match: f"{match[0]} ", text)


def title_of(template: str, values: Mapping[str, str]) -> str:
    """Return the title, on one line."""
    return " ".join(_fill(template, values).split())[:LONGEST_TITLE]


def body_of(template: str, values: Mapping[str, str]) -> str:
    """Return the text, without lines that came out empty."""
    lines = (line.rstrip() for line in _fill(template, values).splitlines())
    return "\n".join(line for line in lines if line)[:LONGEST_BODY]


def _fill(template: str, values: Mapping[str, str]) -> str:
    return string.Template(template).safe_substitute({name: harmless(values.get(name, "")) for name in FIELDS})


def words_of(kind: str) -> str:
    """Return a kind as people read it: ``target_down`` is ``target down``."""
    return kind.replace("_", " ")


def instant(value: datetime) -> str:
    """Return an instant in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasting(value: timedelta) -> str:
    """Return a span of time with its largest units: ``12 min``, ``2 h 5 min``, ``3 d 4 h``."""
    minutes = max(int(value.total_seconds()) // 60, 0)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, left = divmod(hours, 24)
    return f"{days} d {left} h" if left else f"{days} d"
