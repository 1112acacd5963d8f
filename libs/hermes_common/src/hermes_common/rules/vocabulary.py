"""The grammar as data, for an editor: words, operators of every type with what they take, fields, limits."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Literal

from hermes_common.dicom.tags import DEFAULT_TAGS
from hermes_common.rules.dictionary import FACTS, OPERATORS, FieldInfo, Kind, canonical_name, fields, look_up
from hermes_common.rules.lexer import KEYWORDS, MAX_BYTES, MAX_DEPTH, MAX_TOKENS
from hermes_common.rules.literals import EXPECTED
from hermes_common.rules.parser import MAX_AMOUNT, MAX_NODES, MAX_VALUES
from hermes_common.rules.patterns import MAX_LENGTH, MAX_PATTERNS
from hermes_common.rules.tree import COUNTABLE, Relation, Unit
from hermes_common.rules.values import WEEKDAYS

Takes = Literal["value", "text", "list", "range", "pattern", "duration", "nothing"]
"""What follows an operator: one value of the field's type, a quoted text, ``[a, b]``, ``a and b``, ``/re2/i``,
``3 days``, nothing."""

_TAKES: Final[dict[str, Takes]] = {
    "~=": "text", "contains": "text", "starts with": "text", "ends with": "text", "in": "list", "not in": "list",
    "between": "range", "matches": "pattern", "within last": "duration", "is present": "nothing",
    "is missing": "nothing",
}  # fmt: skip
_IGNORE_CASE: Final = frozenset({"~=", "contains", "starts with", "ends with"})


def vocabulary(collected: Iterable[str] = DEFAULT_TAGS) -> dict[str, Any]:
    """Return what can be written in a rule, as JSON-ready values that nobody may change: they are shared.

    ``collected`` names the fields that are taken out of every image (the default list, and what a site added). They are
    marked as such, and those that are no keyword of the standard (private tags, paths) are added to ``fields``. A field
    that is not collected is missing in every series, so it should be offered last and with a warning. Names that are no
    field are left out. The order of ``fields``: facts, collected fields, the others, each by name.
    """
    return _vocabulary(frozenset(canonical_name(name) for name in collected))


@lru_cache(maxsize=4)
def _vocabulary(collected: frozenset[str]) -> dict[str, Any]:
    return {
        "keywords": list(KEYWORDS),
        "connectives": ["and", "or", "not"],
        "quantifiers": ["any series", "all series", "count series"],
        "count_relations": [relation.value for relation in Relation if relation in COUNTABLE],
        "units": [unit.value for unit in Unit],
        "weekdays": list(WEEKDAYS),
        "types": {kind.value: _type(kind) for kind in Kind},
        "fields": _fields(collected),
        "private_tag": "(gggg,eeee)",
        "limits": {
            "bytes": MAX_BYTES,
            "words": MAX_TOKENS,
            "depth": MAX_DEPTH,
            "nodes": MAX_NODES,
            "list_values": MAX_VALUES,
            "patterns": MAX_PATTERNS,
            "pattern_characters": MAX_LENGTH,
            "amount": MAX_AMOUNT,
        },
    }


def _type(kind: Kind) -> dict[str, Any]:
    operators = [
        {"operator": written, "takes": _TAKES.get(written, "value"), "ignores_case": written in _IGNORE_CASE}
        for written in OPERATORS[kind]
    ]
    return {"value": EXPECTED.get(kind, ""), "operators": operators}


def _fields(collected: frozenset[str]) -> list[dict[str, Any]]:
    known = {info.name: info for info in fields()}
    added = [info for name in collected - known.keys() if isinstance(info := look_up(name), FieldInfo)]
    ordered = sorted((*known.values(), *added), key=lambda info: (_rank(info.name, collected), info.name))
    return [_field(info, collected) for info in ordered]


def _rank(name: str, collected: frozenset[str]) -> int:
    return 0 if name in FACTS else 1 if name in collected else 2


def _field(info: FieldInfo, collected: frozenset[str]) -> dict[str, Any]:
    return {
        "name": info.name,
        "label": info.label,
        "type": info.kind.value,
        "vr": info.vr,
        "vm": info.vm,
        "retired": info.retired,
        "optional": info.optional,
        "fact": info.name in FACTS,
        "collected": info.name in FACTS or info.name in collected,
        "places": list(info.places),
    }
