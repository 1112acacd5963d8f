"""Two people change the same rule at once: what is taken of whom, field by field; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Both:
    """A field that both changed, each in another way."""

    field: str
    before: Any
    theirs: Any
    mine: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """The fields of the rule with both changes in it; where both changed the same one, it is mine."""

    fields: dict[str, Any]
    taken: tuple[str, ...]
    """Fields that only they changed."""
    both: tuple[Both, ...]


def merge(before: Fields, theirs: Fields, mine: Fields, take: Sequence[str] = ()) -> Merged:
    """Return what both changes come to. ``take`` names fields that are taken as they are with them."""
    fields: dict[str, Any] = {}
    taken, both = [], []
    for name in dict.fromkeys((*mine, *theirs)):
        old, new, own = before.get(name), theirs.get(name), mine.get(name)
        fields[name] = own
        if new in (old, own):
            continue
        if own == old or name in take:
            taken.append(name)
            fields[name] = new
        else:
            both.append(Both(name, old, new, own))
    return Merged(fields, tuple(taken), tuple(both))
