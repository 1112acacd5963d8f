"""Rule expressions of Mercure, which are Python over ``@Tag@``, to rules of this language.

Nothing is ever evaluated: the text is parsed as Python and read node by node. What has no counterpart is refused with
its place. Where every tag is present with one value, a translated rule says what the old one did, but for what the
notes say; where one is missing, the old one was false as a whole and the new one follows its own logic.
"""

import ast
import re
import warnings
from dataclasses import dataclass, replace

from hermes_common.rules import tree
from hermes_common.rules.checker import check
from hermes_common.rules.dictionary import Kind, NoField, look_up, suggest
from hermes_common.rules.formatter import format_rule
from hermes_common.rules.lexer import MAX_BYTES, position, refuse
from hermes_common.rules.problems import Problem, RuleError, RuleSyntaxError, Span

_TAG = re.compile(r"@([A-Za-z][A-Za-z0-9_]*)@")
_CASTS = frozenset({"float", "int", "str"})
_FACTS = {"SenderAddress": "source.ip", "SenderAET": "source.aet", "ReceiverAET": "source.called_aet"}
"""What Mercure adds to the tags of an image."""
_SAME_BUT_CASE = frozenset({"lower", "upper", "strip"})
_RELATIONS: dict[type[ast.cmpop], tuple[tree.Relation, tree.Relation]] = {
    ast.Eq: (tree.Relation.EQUAL, tree.Relation.EQUAL),
    ast.NotEq: (tree.Relation.NOT_EQUAL, tree.Relation.NOT_EQUAL),
    ast.Lt: (tree.Relation.LESS, tree.Relation.GREATER),
    ast.LtE: (tree.Relation.LESS_EQUAL, tree.Relation.GREATER_EQUAL),
    ast.Gt: (tree.Relation.GREATER, tree.Relation.LESS),
    ast.GtE: (tree.Relation.GREATER_EQUAL, tree.Relation.LESS_EQUAL),
}
"""Each comparison, and what it is when its sides are exchanged."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The canonical text of the rule, and where it differs from the old one; spans are those of the old text."""

    text: str
    notes: tuple[Problem, ...]


def translate(text: str) -> Translation:
    """Return the rule that stands for an expression of Mercure; raise :class:`RuleSyntaxError` where there is none."""
    return _Translator(text).run()


def translate_completion(text: str) -> Translation:
    """Return the study rule for a list of required series, such as ``'SAG' or ('COR' and 'AX')``."""
    made = _Translator(text, series=True).run()
    return Translation(made.text, ())


@dataclass(frozen=True, slots=True)
class _Operand:
    """A field of the old rule; ``folded`` if its case was removed before it was compared."""

    field: tree.Field
    kind: Kind
    folded: bool = False


class _Translator:
    """The translation of one text."""

    def __init__(self, text: str, series: bool = False) -> None:
        self.text, self.series = text, series
        self.notes: list[Problem] = []

    def run(self) -> Translation:
        if len(self.text.encode(errors="replace")) > MAX_BYTES:
            raise refuse("limit", f"the text has more than {MAX_BYTES} bytes", position(self.text, 0, len(self.text)))
        try:
            rule = tree.Rule(self.expression(self._parsed()))
            check(rule, "study" if self.series else "series")
        except RecursionError as exc:
            raise refuse("limit", "the expression is nested too deep", position(self.text, 0, len(self.text))) from exc
        return Translation(format_rule(rule), tuple(self.notes))

    def _parsed(self) -> ast.expr:
        """Parse the text; ``@`` becomes a space and the parentheses take one column, so that places stay known."""
        source = f"({_TAG.sub(lambda found: f' {found[1]} ', self.text)}\n)".replace("\r", " ")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError, MemoryError) as exc:
            line, column = getattr(exc, "lineno", None) or 1, getattr(exc, "offset", None) or 1
            lines = self.text.split("\n")
            start = sum(len(each) + 1 for each in lines[: line - 1]) + column - (2 if line == 1 else 1)
            start = min(max(start, 0), len(self.text))
            where = position(self.text, start, min(start + 1, len(self.text)))
            reason = exc.msg if isinstance(exc, SyntaxError) else "it cannot be read"
            raise refuse("syntax", f"this is not an expression of Mercure: {reason}", where) from exc

    def expression(self, node: ast.expr) -> tree.Expression:
        match node:
            case ast.BoolOp(op=op, values=values):
                return self._connected(op, values)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                return self._connected(op, [left, right])
            case ast.UnaryOp(op=ast.Not(), operand=operand) if not self.series:
                return tree.Not(self.expression(operand))
            case ast.Constant(value=str(name)) if self.series:
                series = tree.Field("SeriesDescription")
                return tree.SomeSeries("any", tree.Compare(series, tree.Relation.CONTAINS, tree.Text(name)))
            case _ if self.series:
                raise self._refusal(node, "only names of series with and, or and parentheses can stand here")
            case _:
                return self._checked(node, self._clause(node))

    def _connected(self, op: ast.boolop | ast.operator, parts: list[ast.expr]) -> tree.Expression:
        kind = tree.And if isinstance(op, ast.And | ast.BitAnd) else tree.Or
        return kind(tuple(self.expression(part) for part in parts))

    def _checked(self, node: ast.expr, made: tree.Expression) -> tree.Expression:
        """Refuse a clause that makes no sense at the place where the old one stands."""
        try:
            check(tree.Rule(made))
        except RuleError as exc:
            raise self._refusal(node, exc.problems[0].message) from exc
        return made

    def _clause(self, node: ast.expr) -> tree.Expression:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._comparison(node, left, op, right)
            case ast.Call(func=ast.Attribute(value=inner, attr="startswith" | "endswith" as name), args=[part]):
                with_ = tree.Relation.STARTS_WITH if name == "startswith" else tree.Relation.ENDS_WITH
                return self._partial(node, self._operand(inner), with_, part)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="tags"), attr="contains"), args=[tag, *part], keywords=[]
            ):
                return self._contains(node, tag, part)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return tree.Presence(self._operand(node).field, present=True)
            case _:
                raise self._refusal(node, "this has no counterpart")

    def _contains(self, node: ast.expr, tag: ast.expr, part: list[ast.expr]) -> tree.Expression:
        """Translate ``tags.contains("Tag")`` and ``tags.contains("Tag", "x")``."""
        if not (isinstance(tag, ast.Constant) and isinstance(tag.value, str)) or len(part) > 1:
            raise self._refusal(node, "contains takes the name of a tag in quotes, and perhaps a text")
        operand = self._field(tag, tag.value)
        if part:
            return self._partial(node, operand, tree.Relation.CONTAINS, part[0])
        self._note(node, "a tag that is there without a value counts as missing")
        return tree.Presence(operand.field, present=True)

    def _comparison(self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr) -> tree.Expression:
        match op, left, right:
            case ast.In() | ast.NotIn(), ast.Constant(value=str(name)), ast.Name(id="tags"):
                self._note(node, "a tag that is there without a value counts as missing")
                return tree.Presence(self._field(left, name).field, present=isinstance(op, ast.In))
            case ast.In() | ast.NotIn(), ast.Constant(), _:
                made = self._partial(node, self._operand(right), tree.Relation.CONTAINS, left)
                return made if isinstance(op, ast.In) else tree.Not(made)
            case ast.In() | ast.NotIn(), _, ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items) if items:
                operand = self._operand(left)
                values = tuple(self._literal(item, operand) for item in items)
                return tree.Member(operand.field, values, negated=isinstance(op, ast.NotIn))
        if type(op) not in _RELATIONS:
            raise self._refusal(node, "this comparison has no counterpart")
        exchanged = isinstance(left, ast.Constant | ast.UnaryOp)
        operand = self._operand(right if exchanged else left)
        relation = _RELATIONS[type(op)][exchanged]
        literal = self._literal(left if exchanged else right, operand)
        return self._folded(operand, relation, literal)

    def _folded(self, operand: _Operand, relation: tree.Relation, literal: tree.Literal_) -> tree.Expression:
        if operand.folded and relation in {tree.Relation.EQUAL, tree.Relation.NOT_EQUAL}:
            same = tree.Compare(operand.field, tree.Relation.SAME, literal)
            return same if relation is tree.Relation.EQUAL else tree.Not(same)
        return tree.Compare(operand.field, relation, literal)

    def _partial(self, node: ast.expr, operand: _Operand, relation: tree.Relation, part: ast.expr) -> tree.Compare:
        if not operand.folded:
            self._note(node, f"{relation} ignores case")
        return tree.Compare(operand.field, relation, self._literal(part, operand))

    def _operand(self, node: ast.expr) -> _Operand:
        match node:
            case ast.Call(func=ast.Name(id=cast), args=[inner], keywords=[]) if cast in _CASTS:
                return self._operand(inner)
            case ast.Call(func=ast.Attribute(value=inner, attr=name), args=[], keywords=[]) if name in _SAME_BUT_CASE:
                return replace(self._operand(inner), folded=name != "strip")
            case ast.Name(id=name) if name != "tags":
                return self._field(node, name)
            case ast.Attribute(value=ast.Name(id="tags"), attr=name):
                return self._field(node, name)
            case ast.Subscript(value=ast.Name(id="tags"), slice=ast.Constant(value=str(name))):
                return self._field(node, name)
            case _:
                raise self._refusal(node, "a tag should stand here")

    def _field(self, node: ast.expr, name: str) -> _Operand:
        info = look_up(_FACTS.get(name, name))
        likely = suggest(name) if isinstance(info, NoField) else None
        if isinstance(info, NoField) and likely is not None and likely.lower() == name.lower():
            info = look_up(likely)
        if isinstance(info, NoField):
            raise self._refusal(node, info.message, likely)
        return _Operand(tree.Field(info.name), info.kind)

    def _literal(self, node: ast.expr, operand: _Operand) -> tree.Literal_:
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=str(value)):
                return self._text(value, operand.kind)
            case ast.Constant(value=(int() | float()) as number):
                return tree.Number(number)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=(int() | float()) as number)):
                return tree.Number(-number)
            case _:
                pass
        raise self._refusal(node, "a text or a number should stand here")

    def _text(self, value: str, kind: Kind) -> tree.Literal_:
        """Return the literal; a quoted number is one where the field is."""
        if kind is Kind.NUMBER:
            try:
                return tree.Number(int(value) if value.isdecimal() else float(value))
            except ValueError:
                pass
        return tree.Text(value)

    def _note(self, node: ast.expr, message: str) -> None:
        self.notes.append(Problem("differs", message, self._span(node)))

    def _refusal(self, node: ast.expr, message: str, suggestion: str | None = None) -> RuleSyntaxError:
        return refuse("untranslatable", message, self._span(node), (), suggestion)

    def _span(self, node: ast.expr) -> Span:
        start = self._offset(node.lineno, node.col_offset)
        end = self._offset(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
        return position(self.text, start, end)

    def _offset(self, line: int, column: int) -> int:
        """Return the offset in characters of a place that Python gives in bytes, without the parenthesis in front."""
        lines = self.text.split("\n")
        if line > len(lines):
            return len(self.text)
        before = sum(len(each) + 1 for each in lines[: line - 1])
        column -= line == 1
        return before + len(lines[line - 1].encode()[: max(column, 0)].decode(errors="ignore"))
