"""Tokens of a rule to its tree: the grammar, LALR(1), and the limits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal, cast

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.lexer import Lexer

from hermes_common.dicom.names import canonical_name
from hermes_common.rules import tree
from hermes_common.rules.formatter import format_rule
from hermes_common.rules.hints import hint
from hermes_common.rules.lexer import MAX_BYTES, MAX_DEPTH, UNITS, position, refuse, span_of, tokenise
from hermes_common.rules.problems import RuleSyntaxError, Span

MAX_NODES = 200
MAX_VALUES = 200
MAX_AMOUNT = 100_000
_SHORT = MAX_BYTES // 8
"""Up to here no text becomes too long by formatting: the longest keyword has six times the characters of its number."""
_MAX_DIGITS = 32

GRAMMAR = r"""
start: disjunction
?disjunction: conjunction (OR conjunction)*
?conjunction: negation (AND negation)*
?negation: NOT negation -> negation
    | LPAR disjunction RPAR -> group
    | FIELD predicate -> clause
    | (ANY | ALL) SERIES LPAR disjunction RPAR -> some_series
    | COUNT SERIES LPAR disjunction RPAR RELATION NUMBER -> count_series
?predicate: (RELATION | SAME | CONTAINS | HAS) literal -> compare
    | (STARTS | ENDS) WITH literal -> compare_with
    | IN values -> member
    | NOT IN values -> not_member
    | MATCHES REGEX -> matches
    | BETWEEN literal AND literal -> between
    | WITHIN LAST NUMBER UNIT -> within
    | IS (PRESENT | MISSING) -> presence
values: LSQB literal (COMMA literal)* RSQB
?literal: STRING -> text
    | NUMBER -> number
%declare OR AND NOT LPAR RPAR FIELD ANY ALL SERIES COUNT RELATION SAME CONTAINS HAS STARTS ENDS WITH IN MATCHES REGEX
%declare BETWEEN WITHIN LAST UNIT IS PRESENT MISSING LSQB COMMA RSQB STRING NUMBER
"""
"""Keywords are terminals named like them; :mod:`hermes_common.rules.lexer` says what the others look like."""

_READABLE = {
    "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "COMMA": ",", "FIELD": "a field", "STRING": "a quoted text",
    "NUMBER": "a number", "REGEX": "a /pattern/", "RELATION": "== != < <= > >=", "SAME": "~=",
    "UNIT": "minutes, hours or days", "STARTS": "starts with", "ENDS": "ends with", "WITHIN": "within last",
    "IS": "is present, is missing", "$END": "the end",
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def parse(text: str) -> tree.Rule:
    """Return the tree of ``text``.

    Raise :class:`RuleSyntaxError`, with the position, what was expected and where possible a suggestion, if the text
    does not follow the grammar or is over a limit (also if its canonical form would be). Fields are not looked up.
    """
    lexed = tokenise(text)
    if not lexed.tokens:
        raise refuse("syntax", "the rule is empty", position(text, len(text), len(text)), ("a condition",))
    try:
        expression = cast("tree.Expression", _LARK.parse(cast("str", lexed.tokens)))
    except UnexpectedInput as exc:
        raise _unexpected(text, exc) from exc
    check_limits(expression)
    rule = tree.Rule(expression, lexed.comments, text)
    if len(text) > _SHORT and len(format_rule(rule).encode()) > MAX_BYTES:
        where = position(text, 0, len(text))
        raise refuse("limit", f"the rule in its canonical form has more than {MAX_BYTES} bytes", where)
    return rule


def check_limits(expression: tree.Expression) -> None:
    """Raise :class:`RuleSyntaxError` if the tree is too deep or has too many nodes; it may be of any shape."""
    pending = [(expression, 1)]
    nodes = 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise refuse("limit", f"the rule is nested more than {MAX_DEPTH} deep", node.span)
        if nodes > MAX_NODES:
            raise refuse("limit", f"the rule has more than {MAX_NODES} conditions and connectives", node.span)
        pending.extend((child, depth + 1) for child in reversed(tree.children(node)))


def _unexpected(text: str, exc: UnexpectedInput) -> RuleSyntaxError:
    """Say what stands at the place of the error and what could."""
    token = exc.token if isinstance(exc, UnexpectedToken) else Token("$END", "")
    names = exc.accepts or exc.expected if isinstance(exc, UnexpectedToken) else set()
    expected = tuple(sorted(_READABLE.get(name, name.lower()) for name in names))
    if token.type == "$END":
        return refuse("syntax", "the rule ends too early", position(text, len(text), len(text)), expected)
    shown = token if len(token) <= 40 else f"{token[:39]}…"
    message = f"{shown} is not expected here"
    if names == {"IN"}:
        message += ": apart from not in, not stands before the field"
    return refuse("syntax", message, span_of(token), expected, hint(token, names))


class _Lexed(Lexer):
    """Hands lark the tokens that are already there."""

    def __init__(self, _conf: object) -> None:
        """Take the configuration that lark hands to every lexer; nothing of it is needed."""

    def lex(self, tokens: Any, *_: object) -> Iterator[Token]:
        return iter(tokens)


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Builds the nodes while lark reduces, without an intermediate tree; its methods are named as in the grammar."""

    def start(self, part: "_Part") -> tree.Expression:
        return _bare(part)

    def disjunction(self, *parts: Any) -> tree.Expression:
        return _connect(tree.Or, parts)

    def conjunction(self, *parts: Any) -> tree.Expression:
        return _connect(tree.And, parts)

    def negation(self, word: Token, part: "_Part") -> tree.Not:
        return tree.Not(_bare(part), span_of(word).to(part.span))

    def group(self, left: Token, part: "_Part", right: Token) -> "_Group":
        return _Group(_bare(part), span_of(left).to(span_of(right)))

    def clause(self, name: Token, predicate: tree.Clause) -> tree.Clause:
        field = tree.Field(canonical_name(name), span_of(name))
        return replace(predicate, field=field, span=field.span.to(predicate.span))

    def some_series(self, word: Token, _s: Token, _l: Token, body: "_Part", end: Token) -> tree.SomeSeries:
        kind: Literal["any", "all"] = "any" if word.type == "ANY" else "all"
        return tree.SomeSeries(kind, _bare(body), span_of(word).to(span_of(end)))

    def count_series(
        self, word: Token, _s: Token, _l: Token, body: "_Part", _r: Token, relation: Token, amount: Token
    ) -> tree.CountSeries:
        span = span_of(word).to(span_of(amount))
        return tree.CountSeries(_bare(body), tree.Relation(relation), _amount(amount, 0), span)

    def compare(self, relation: Token, value: tree.Literal_) -> tree.Compare:
        return tree.Compare(_UNSET, tree.Relation(relation.lower()), value, value.span)

    def compare_with(self, word: Token, _with: Token, value: tree.Literal_) -> tree.Compare:
        return tree.Compare(_UNSET, tree.Relation(f"{word.lower()} with"), value, value.span)

    def member(self, _in: Token, values: tuple[tuple[tree.Literal_, ...], Span]) -> tree.Member:
        return tree.Member(_UNSET, values[0], negated=False, span=values[1])

    def not_member(self, _not: Token, _in: Token, values: tuple[tuple[tree.Literal_, ...], Span]) -> tree.Member:
        return tree.Member(_UNSET, values[0], negated=True, span=values[1])

    def matches(self, _matches: Token, regex: Token) -> tree.Matches:
        end = regex.rindex("/")
        if (flags := regex[end + 1 :]) not in {"", "i"}:
            raise refuse("syntax", f"{flags} is not a flag of a pattern", span_of(regex), ("i",))
        pattern = _ESCAPE.sub(lambda found: "/" if found[1] == "/" else found[0], regex[1:end])
        return tree.Matches(_UNSET, pattern, flags == "i", span_of(regex))

    def between(self, _between: Token, low: tree.Literal_, _and: Token, high: tree.Literal_) -> tree.Between:
        return tree.Between(_UNSET, low, high, high.span)

    def within(self, _within: Token, _last: Token, amount: Token, unit: Token) -> tree.Within:
        return tree.Within(_UNSET, _amount(amount, 1), tree.Unit(UNITS[unit.lower()]), span_of(unit))

    def presence(self, _is: Token, word: Token) -> tree.Presence:
        return tree.Presence(_UNSET, word.type == "PRESENT", span_of(word))

    def values(self, left: Token, *parts: Any) -> tuple[tuple[tree.Literal_, ...], Span]:
        values, span = parts[:-1:2], span_of(left).to(span_of(parts[-1]))
        if len(values) > MAX_VALUES:
            raise refuse("limit", f"the list has {len(values)} values, {MAX_VALUES} are allowed", span)
        return values, span

    def text(self, token: Token) -> tree.Text:
        return tree.Text(_ESCAPE.sub(lambda found: _unescape(token, found[1]), token[1:-1]), span_of(token))

    def number(self, token: Token) -> tree.Number:
        return tree.Number(_number(token), span_of(token))


_UNSET = tree.Field("")


@dataclass(frozen=True, slots=True)
class _Group:
    """An expression in parentheses; they belong to the span of what it is an operand of, not to its own."""

    item: tree.Expression
    span: Span


_Part = tree.Expression | _Group


def _bare(part: _Part) -> tree.Expression:
    """Return the expression without its parentheses; a connective stands for them, too."""
    if not isinstance(part, _Group):
        return part
    if isinstance(part.item, tree.And | tree.Or):
        return replace(part.item, span=part.span)
    return part.item


def _connect(kind: type[tree.And] | type[tree.Or], parts: tuple[Any, ...]) -> tree.Expression:
    """Join operands (every other part is the connective), taking in those of an operand of the same kind."""
    items: list[tree.Expression] = []
    for part in parts[::2]:
        item = _bare(part)
        items.extend(item.items if isinstance(item, kind) else (item,))
    return kind(tuple(items), parts[0].span.to(parts[-1].span))


def _unescape(token: Token, letter: str) -> str:
    if letter not in _ESCAPES:
        raise refuse(
            "syntax", f"\\{letter} has no meaning in a quoted text", span_of(token), ('\\"', "\\\\", "\\n", "\\t")
        )
    return _ESCAPES[letter]


def _number(token: Token) -> int | float:
    if len(token) > _MAX_DIGITS:
        raise refuse("limit", f"a number has at most {_MAX_DIGITS} characters", span_of(token))
    if token.lstrip("+-").isdigit():
        return int(token)
    value = float(token)
    if not isfinite(value):
        raise refuse("limit", f"{token} is too large", span_of(token))
    return value


def _amount(token: Token, least: int) -> int:
    value = _number(token)
    if not isinstance(value, int) or not least <= value <= MAX_AMOUNT:
        message = f"{token} is not a whole number from {least} to {MAX_AMOUNT}"
        raise refuse("syntax", message, span_of(token), ("a whole number",))
    return value


_LARK = Lark(
    GRAMMAR, parser="lalr", lexer=cast("Any", _Lexed), transformer=_Builder(), maybe_placeholders=False,
    keep_all_tokens=True,
)  # fmt: skip
