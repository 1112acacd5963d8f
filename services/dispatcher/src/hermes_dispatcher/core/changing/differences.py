"""What a change did to a data set, attribute by attribute, for people to look at."""

from collections.abc import Iterator

from pydicom.dataset import Dataset

from hermes_common.dicom.names import canonical_name
from hermes_common.previews import LONGEST_VALUE, MOST_LINES, Difference

Flat = dict[str, tuple[str, str]]
"""By path: VR and value as text."""


def flat(dataset: Dataset) -> Flat:
    """Return the attributes of a data set, those in sequences by item, as texts."""
    return dict(_flat(dataset, ""))


def _flat(dataset: Dataset, prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for tag in [int(tag) for tag in dataset.keys()]:  # noqa: SIM118  # a data set is iterated over by elements
        element = dataset[tag]
        name = prefix + canonical_name(f"({tag >> 16:04x},{tag & 0xFFFF:04x})")
        if element.VR == "SQ":
            yield name, ("SQ", f"{len(element.value)} items")
            for number, item in enumerate(element.value, 1):
                yield from _flat(item, f"{name}[{number}].")
        elif isinstance(element.value, bytes):
            yield name, (str(element.VR), f"{len(element.value)} octets")
        else:
            value = "" if element.value is None else element.value
            texts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") or element.VR == "PN" else value
            yield name, (str(element.VR), "\\".join(map(str, texts))[:LONGEST_VALUE])


def differences(before: Flat, after: Flat) -> tuple[list[Difference], int, int]:
    """Return what differs, in the order of the data sets and cut, how many attributes differ, and how many do not."""
    found = [
        Difference(
            name=name, vr=(after.get(name) or before[name])[0], before=_value(before, name), after=_value(after, name)
        )
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]
    return found[:MOST_LINES], len(found), sum(before[name] == after.get(name) for name in before)


def _value(values: Flat, name: str) -> str | None:
    found = values.get(name)
    return None if found is None else found[1]
