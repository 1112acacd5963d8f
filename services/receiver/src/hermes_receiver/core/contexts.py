"""Which transfer syntax each presentation context gets (PS3.8 9.3.3.2, PS3.5 10).

A sender may only use what was chosen, so the choice decides whether it can send what it has or must convert it. The
standard gives the order of a proposal no meaning; in practice a sender names first what it would like to use.

- Contexts of the same SOP class are looked at together: what one of them gives the sender, another need not give
  again, so that compressed and native data can both be sent as they are.
- Within one context, the sender's first syntax wins if it is a compressed one.
- A context that begins with a native syntax and names compressed ones too comes from a sender that has compressed
  data (who has none does not name them): a lossless one is taken. A lossy one is not: native data would lose by it.
  A list of more than :data:`REPERTOIRE` compressed syntaxes is all that a sender knows and says nothing about what it
  has; then the native one is taken.
- Explicit little endian goes before implicit: it says the VR of private attributes, and nothing is lost either way.
- Syntaxes that leave the pixels elsewhere (JPIP) are taken only where nothing else is offered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from hermes_common.dicom.associate import ProposedContext
from hermes_common.dicom.uids import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    SyntaxKind,
    is_standard_transfer_syntax,
    syntax_kind,
)

REPERTOIRE: Final = 6
_COMPRESSED: Final = frozenset({SyntaxKind.LOSSLESS, SyntaxKind.LOSSY})


def choose_syntaxes(contexts: Iterable[ProposedContext]) -> dict[int, str]:
    """Return the transfer syntax of each context by its id; a context that offers no standard one is left out."""
    by_class: dict[str, list[ProposedContext]] = defaultdict(list)
    for context in contexts:
        by_class[context.abstract_syntax].append(context)
    chosen: dict[int, str] = {}
    for same in by_class.values():
        chosen.update(_choose_together(same))
    return chosen


def _choose_together(same: Sequence[ProposedContext]) -> dict[int, str]:
    """Choose for the contexts of one SOP class: first those with the least choice, so that the others can differ."""
    offers = {c.id: _offer(c) for c in same}
    chosen: dict[int, str] = {}
    for context in sorted(same, key=lambda c: len(offers[c.id])):
        offer = offers[context.id]
        fresh = [syntax for syntax in offer if syntax not in chosen.values()]
        native_is_given = any(syntax_kind(syntax) is SyntaxKind.NATIVE for syntax in chosen.values())
        if native_is_given and (compressed := [s for s in fresh if syntax_kind(s) in _COMPRESSED]):
            chosen[context.id] = compressed[0]
        elif offer:
            chosen[context.id] = _best(fresh or offer)
    return chosen


def _offer(context: ProposedContext) -> list[str]:
    standard = [syntax for syntax in dict.fromkeys(context.transfer_syntaxes) if is_standard_transfer_syntax(syntax)]
    return [s for s in standard if syntax_kind(s) is not SyntaxKind.REFERENCED] or standard


def _best(offer: Sequence[str]) -> str:
    """Return the one to take of a context that stands alone."""
    first = offer[0]
    if syntax_kind(first) is not SyntaxKind.NATIVE:
        return first
    compressed = [syntax for syntax in offer if syntax_kind(syntax) in _COMPRESSED]
    lossless = [syntax for syntax in compressed if syntax_kind(syntax) is SyntaxKind.LOSSLESS]
    if lossless and len(compressed) <= REPERTOIRE:
        return lossless[0]
    if first == IMPLICIT_LITTLE and EXPLICIT_LITTLE in offer:
        return EXPLICIT_LITTLE
    return first
