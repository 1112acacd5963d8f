"""A rule as plain values, for an editor that shows it as rows and groups instead of as text."""

from typing import Any, assert_never

from hermes_common.rules import tree
from hermes_common.rules.formatter import format_expression

Outline = dict[str, Any]
"""A node. ``kind`` is ``and`` or ``or`` (with ``items``), ``not``, ``any``, ``all`` or ``count`` (with ``item``; count
with ``relation`` and ``amount``, too), or ``clause`` (with ``field``, ``operator`` and ``values``). ``text`` is its
canonical text, ``start`` and ``end`` where it stands in the text that was parsed."""


def outline(rule: tree.Rule) -> Outline:
    """Return a rule's comments and its tree."""
    return {"comments": list(rule.comments), "root": _node(rule.expression)}


def _node(node: tree.Expression) -> Outline:
    found: Outline = {"text": format_expression(node), "start": node.span.start, "end": node.span.end}
    match node:
        case tree.And():
            return {**found, "kind": "and", "items": [_node(item) for item in node.items]}
        case tree.Or():
            return {**found, "kind": "or", "items": [_node(item) for item in node.items]}
        case tree.Not():
            return {**found, "kind": "not", "item": _node(node.item)}
        case tree.SomeSeries():
            return {**found, "kind": node.quantifier, "item": _node(node.body)}
        case tree.CountSeries():
            told = {"relation": node.relation.value, "amount": node.amount}
            return {**found, "kind": "count", "item": _node(node.body), **told}
        case _:
            own = {"field": node.field.name, "operator": tree.operator(node), "values": _values(node)}
            return {**found, "kind": "clause", **own}


def _values(node: tree.Clause) -> list[str]:
    """Return what follows the operator as it is typed into an editor: without quotes and slashes."""
    match node:
        case tree.Compare():
            return [str(node.value.value)]
        case tree.Member():
            return [str(value.value) for value in node.values]
        case tree.Matches():
            return [node.pattern, "i" if node.ignore_case else ""]
        case tree.Between():
            return [str(node.low.value), str(node.high.value)]
        case tree.Within():
            return [str(node.amount), node.unit.value]
        case tree.Presence():
            return []
        case _:
            assert_never(node)
