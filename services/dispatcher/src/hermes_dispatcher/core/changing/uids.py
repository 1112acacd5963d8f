"""New UIDs for study, series, instances and all that is referred to, kept consistent."""

from typing import Final

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from hermes_dispatcher.core.changing.identity import Identity
from hermes_dispatcher.core.changing.values import text_of

_OF_KINDS: Final = ("SOPClassUID", "SyntaxUID", "SchemeUID", "ContextUID", "ResourceUID")
"""Ends of the keywords of UIDs that name a kind of thing (class, syntax, code), and nothing of this site."""
_MORE_OF_KINDS: Final = frozenset({"SOPClassesInStudy", "SOPClassesSupported"})


def replace_uids(dataset: Dataset, identity: Identity) -> None:
    """Replace every UID that names something of this site, in every sequence, by the one that stands for it."""
    for tag in [int(tag) for tag in dataset.keys()]:  # noqa: SIM118  # a data set is iterated over by elements
        if dataset.get_item(tag).VR not in ("UI", "SQ", "UN", None):
            continue
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                replace_uids(item, identity)
        elif element.VR == "UI" and not _names_a_kind(tag):
            values = [identity.uid(text.strip(" \0")) for text in text_of(element)]
            if values:
                element.value = values if len(values) > 1 else values[0]


def _names_a_kind(tag: int) -> bool:
    keyword = keyword_for_tag(tag)
    return keyword.endswith(_OF_KINDS) or keyword in _MORE_OF_KINDS
