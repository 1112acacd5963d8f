"""What differs between two rule sets: rule by rule, field by field, and for expressions clause by clause."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from hermes_common.rules import tree
from hermes_common.rules.formatter import format_expression
from hermes_common.rules.parser import parse
from hermes_common.rules.problems import RuleError

Document = Mapping[str, Any]


def differences(before: Document, after: Document) -> list[dict[str, Any]]:
    """Return each difference of two rule set documents, in the order of ``after``, the removed rules at the end.

    ``what`` is added, removed, changed or moved; a changed rule has ``fields`` with before and after, and for its
    expression the clauses of the outermost ``and`` that were added and removed. Defaults that one of them leaves out
    are differences: give documents as they are stored.
    """
    old, new = _by_slug(before), _by_slug(after)
    moved = _moved(list(old), list(new))
    found: list[dict[str, Any]] = []
    for slug, rule in new.items():
        if slug not in old:
            found.append({"what": "added", "rule": slug, "after": rule})
            continue
        fields = [_field(name, old[slug].get(name), rule.get(name)) for name in _changed(old[slug], rule)]
        if fields:
            found.append({"what": "changed", "rule": slug, "fields": fields})
        if slug in moved:
            found.append({"what": "moved", "rule": slug, "before": moved[slug][0], "after": moved[slug][1]})
    found += [{"what": "removed", "rule": slug, "before": rule} for slug, rule in old.items() if slug not in new]
    return found


def _by_slug(document: Document) -> dict[str, Document]:
    return {str(rule.get("slug", "")): rule for rule in document.get("rules", ())}


def _changed(before: Document, after: Document) -> list[str]:
    return [name for name in dict.fromkeys([*after, *before]) if before.get(name) != after.get(name)]


def _field(name: str, before: Any, after: Any) -> dict[str, Any]:
    found = {"field": name, "before": before, "after": after}
    if name == "expression" and isinstance(before, str) and isinstance(after, str):
        found["clauses"] = _clause_changes(before, after)
    return found


def _clause_changes(before: str, after: str) -> list[dict[str, str]]:
    """Return the operands of the outermost ``and`` that came and went, in the order of a reader."""
    old, new = _operands(before), _operands(after)
    found: list[dict[str, str]] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            found += [{"what": "removed", "clause": clause} for clause in old[i1:i2]]
            found += [{"what": "added", "clause": clause} for clause in new[j1:j2]]
    return found


def _operands(text: str) -> list[str]:
    """Return the operands in canonical form; of a text that is no rule, or none, the text itself."""
    if not text.strip():
        return []
    try:
        expression = parse(text).expression
    except RuleError:
        return [text]
    items = expression.items if isinstance(expression, tree.And) else (expression,)
    return [format_expression(item) for item in items]


def _moved(before: Sequence[str], after: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the rules that are in both but not in the same order, with both places (from 1)."""
    old = [slug for slug in before if slug in set(after)]
    new = [slug for slug in after if slug in set(before)]
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    kept = {old[block.a + offset] for block in blocks for offset in range(block.size)}
    return {slug: (before.index(slug) + 1, after.index(slug) + 1) for slug in new if slug not in kept}
