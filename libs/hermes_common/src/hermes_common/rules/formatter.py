"""A tree of a rule to its canonical text."""

import re
from typing import assert_never

from hermes_common.rules import tree

WIDTH = 100
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})
_SLASH = re.compile(r"\\.|/|\n", re.DOTALL)


def format_rule(rule: tree.Rule) -> str:
    """Return the canonical text of ``rule``: comments first, then the expression.

    One line if it fits into 100 characters, otherwise one line per operand of the outermost connective. For every
    text that parses, ``parse(format_rule(r)) == r`` and formatting once more changes nothing.
    """
    lines = [f"# {comment}".rstrip() for comment in rule.comments]
    lines.append(_layout(rule.expression))
    return "\n".join(lines)


def format_expression(node: tree.Expression) -> str:
    """Return the canonical text of one expression, on one line."""
    match node:
        case tree.And() | tree.Or():
            return _joint(node).join(_operands(node))
        case tree.Not():
            return f"not {_wrapped(node.item)}"
        case tree.SomeSeries():
            return f"{node.quantifier} series ({format_expression(node.body)})"
        case tree.CountSeries():
            return f"count series ({format_expression(node.body)}) {node.relation} {node.amount}"
        case _:
            return f"{node.field.name} {tree.operator(node)}{_object(node)}"


def _layout(expression: tree.Expression) -> str:
    line = format_expression(expression)
    if len(line) > WIDTH and isinstance(expression, tree.And | tree.Or):
        return f"\n {_joint(expression)}".join(_operands(expression))
    return line


def _joint(node: tree.And | tree.Or) -> str:
    return " and " if isinstance(node, tree.And) else " or "


def _operands(node: tree.And | tree.Or) -> list[str]:
    """Return the texts of the operands; ``and`` within ``and`` needs no parentheses and is the same rule."""
    texts: list[str] = []
    for item in node.items:
        texts.extend(_operands(item) if isinstance(item, type(node)) else [_wrapped(item)])
    return texts


def _wrapped(node: tree.Expression) -> str:
    text = format_expression(node)
    return f"({text})" if isinstance(node, tree.And | tree.Or) else text


def _object(node: tree.Clause) -> str:
    """Return what follows the operator of a clause, with the space before it."""
    match node:
        case tree.Compare():
            return f" {_literal(node.value)}"
        case tree.Member():
            return f" [{', '.join(_literal(value) for value in node.values)}]"
        case tree.Matches():
            return f" /{_SLASH.sub(_escape_in_pattern, node.pattern)}/{'i' if node.ignore_case else ''}"
        case tree.Between():
            return f" {_literal(node.low)} and {_literal(node.high)}"
        case tree.Within():
            return f" {node.amount} {node.unit}"
        case tree.Presence():
            return ""
        case _:
            assert_never(node)


def _literal(value: tree.Literal_) -> str:
    if isinstance(value, tree.Number):
        return repr(value.value)
    return f'"{value.value.translate(_ESCAPES)}"'


def _escape_in_pattern(found: re.Match[str]) -> str:
    return {"/": "\\/", "\n": "\\n"}.get(found[0], found[0])
