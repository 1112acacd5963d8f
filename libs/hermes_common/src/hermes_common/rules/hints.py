"""What was probably meant by a word that does not belong where it stands."""

from difflib import get_close_matches

from lark import Token

from hermes_common.rules.lexer import KEYWORDS, UNITS

_OPERATORS = {
    "equals": "==", "equal": "==", "eq": "==", "like": "contains", "includes": "contains", "include": "contains",
    "begins": "starts", "startswith": "starts with", "endswith": "ends with", "regex": "matches",
    "exists": "is present",
}  # fmt: skip
_STATES = {
    "empty": "missing", "absent": "missing", "null": "missing", "none": "missing", "blank": "missing",
    "set": "present", "there": "present", "filled": "present",
}  # fmt: skip
_LONGEST = 64


def hint(token: Token, accepted: set[str]) -> str | None:
    """Return what could replace ``token``, where terminals of the grammar named ``accepted`` may stand."""
    if token.type == "FIELD" and "STRING" in accepted:
        return f'"{token[:_LONGEST]}"'
    if token.type == "FIELD":
        return _word(token.lower(), accepted)
    if token.type in {"STRING", "NUMBER"} and "LSQB" in accepted:
        return f"[{token[:_LONGEST]}]"
    if token.type == "STRING" and "REGEX" in accepted:
        return f"/{token[1:-1][:_LONGEST]}/"
    return "[" if token.type == "LPAR" and "LSQB" in accepted else None


def _word(written: str, accepted: set[str]) -> str | None:
    """Return the word of the language that ``written`` stands for, or is nearly."""
    if "IS" in accepted and written in _OPERATORS:
        return _OPERATORS[written]
    if "PRESENT" in accepted and written in _STATES:
        return _STATES[written]
    words = [word for word in KEYWORDS if ("UNIT" if word in UNITS else word.upper()) in accepted]
    near = get_close_matches(written[:_LONGEST], words, 1)
    return near[0] if near else None
