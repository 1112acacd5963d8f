"""Text of a rule to tokens, in one pass and in time proportional to the text, whatever the text is."""

import re
from dataclasses import dataclass

from lark import Token

from hermes_common.rules.problems import Problem, RuleSyntaxError, Span

MAX_BYTES = 4096
MAX_DEPTH = 32
MAX_TOKENS = 1200

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TAG = r"\([ \t]*[0-9A-Fa-f]{4}[ \t]*,[ \t]*[0-9A-Fa-f]{4}[ \t]*\)"
_PART = rf"(?:{_NAME}|{_TAG})"
_TOKEN = re.compile(
    rf"""(?P<SKIP>\s+)
    |(?P<COMMENT>\#[^\n]*)
    |(?P<FIELD>{_PART}(?:\.{_PART})*)
    |(?P<NUMBER>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<STRING>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<REGEX>/(?:\\.|[^/\\\n])*/[A-Za-z]*)
    |(?P<SAME>~=)
    |(?P<RELATION>[=!<>]=|<|>)
    |(?P<LPAR>\()|(?P<RPAR>\))|(?P<LSQB>\[)|(?P<RSQB>\])|(?P<COMMA>,)""",
    re.VERBOSE,
)

UNITS = {"minute": "minutes", "hour": "hours", "day": "days", "minutes": "minutes", "hours": "hours", "days": "days"}
_WORDS = (
    "and", "or", "not", "in", "contains", "starts", "ends", "with", "matches", "has", "is", "present", "missing",
    "between", "within", "last", "any", "all", "count", "series",
)  # fmt: skip
KEYWORDS = (*_WORDS, *UNITS)
"""Reserved words, in any case of letters; no DICOM keyword is one of them."""

_TERMINALS = {word: word.upper() for word in _WORDS} | dict.fromkeys(UNITS, "UNIT")
_HABITS = {
    "=": "==", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "<>": "!=", "=~": "matches", "=>": ">=",
    "=<": "<=", "“": '"', "”": '"', "„": '"', "\u2018": "'", "\u2019": "'", "≤": "<=", "≥": ">=",
    "≠": "!=", "{": "(", "}": ")",
}  # fmt: skip
"""What people write out of habit, and how it is written here."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text, and its comments without ``#``."""

    tokens: tuple[Token, ...]
    comments: tuple[str, ...]


def tokenise(text: str) -> Tokens:
    """Split ``text`` into tokens; raise :class:`RuleSyntaxError` at the first that is none, or at a limit."""
    _check_size(text)
    return _Lexer(text).run()


def refuse(
    code: str, message: str, span: Span, expected: tuple[str, ...] = (), suggestion: str | None = None
) -> RuleSyntaxError:
    """Return the error of a text with a single problem."""
    return RuleSyntaxError((Problem(code, message, span, expected, suggestion),))


def position(text: str, start: int, end: int) -> Span:
    """Return the span of ``text[start:end]``."""
    return Span(start, end, text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))


def span_of(token: Token) -> Span:
    """Return where a token stands."""
    start = token.start_pos or 0
    return Span(start, start + len(token), token.line or 1, token.column or 1)


def _check_size(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        where = position(text, exc.start, exc.end)
        raise refuse("character", "half of a surrogate pair is not a character", where) from exc
    if size > MAX_BYTES:
        where = position(text, MAX_BYTES // 4, len(text))
        raise refuse("limit", f"the text has {size} bytes, {MAX_BYTES} are allowed", where)


class _Lexer:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.comments: list[str] = []
        self.line = 1
        self.line_start = 0
        self.depth = 0

    def run(self) -> Tokens:
        text, at = self.text, 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._stray(at)
            self._take(str(found.lastgroup), found.group(), at)
            at = found.end()
        return Tokens(tuple(self.tokens), tuple(self.comments))

    def _take(self, kind: str, value: str, at: int) -> None:
        match kind:
            case "SKIP":
                if "\n" in value:
                    self.line += value.count("\n")
                    self.line_start = at + value.rfind("\n") + 1
                return
            case "COMMENT":
                self.comments.append(value[1:].strip())
                return
            case "LPAR":
                self.depth += 1
            case "RPAR":
                self.depth -= 1
            case "FIELD":
                kind = _TERMINALS.get(value.lower(), kind)
            case _:
                pass
        token = Token(kind, value, at, self.line, at - self.line_start + 1)
        self._check_limits(token)
        self.tokens.append(token)

    def _check_limits(self, token: Token) -> None:
        if self.depth > MAX_DEPTH:
            raise refuse("limit", f"more than {MAX_DEPTH} parentheses are open", span_of(token))
        if len(self.tokens) >= MAX_TOKENS:
            raise refuse("limit", f"the text has more than {MAX_TOKENS} words", span_of(token))

    def _stray(self, at: int) -> RuleSyntaxError:
        text = self.text
        for length in (2, 1):
            if (habit := text[at : at + length]) in _HABITS:
                return refuse("character", f"{habit} is not written here", self._at(at, length), (), _HABITS[habit])
        names = {'"': "the string is not closed", "'": "the string is not closed", "/": "the pattern is not closed"}
        message = names.get(text[at], f"{text[at]!r} does not belong in a rule")
        length = len(text[at:].split("\n", 1)[0]) if text[at] in names else 1
        return refuse("character", message, self._at(at, length))

    def _at(self, at: int, length: int) -> Span:
        return Span(at, min(at + length, len(self.text)), self.line, at - self.line_start + 1)
