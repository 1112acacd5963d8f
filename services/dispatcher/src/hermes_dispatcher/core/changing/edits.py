"""Edits of attributes, carried out."""

from collections.abc import Iterable, Iterator

from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hermes_common.dicom.names import creator_of, is_private
from hermes_common.edits import Edit, path_of
from hermes_dispatcher.core.changing.errors import UnchangeableError, named
from hermes_dispatcher.core.changing.values import encodings_of, put, text_of


def apply(dataset: Dataset, edits: Iterable[Edit]) -> None:
    """Carry out edits in their order; raise :class:`UnchangeableError` for one that cannot be."""
    encodings = encodings_of(dataset)
    for edit in edits:
        try:
            _apply(dataset, edit, encodings)
        except UnchangeableError as error:
            raise UnchangeableError(f"{edit.action} {edit.name}: {error}") from error


def _apply(dataset: Dataset, edit: Edit, encodings: list[str]) -> None:
    *containers, tag = edit.path
    match edit.action:
        case "remove":
            for place in _places(dataset, containers, make=False):
                place.pop(tag, None)
        case "set":
            for place in _places(dataset, containers, make=True):
                put(place, tag, _vr(place, tag), [edit.value], encodings)
        case "copy":
            (source,) = path_of(edit.value)
            values = text_of(dataset[source]) if source in dataset else []
            for place in _places(dataset, containers, make=True):
                put(place, tag, _vr(place, tag), values, encodings)
        case "prefix" | "suffix":
            for place in _places(dataset, containers, make=False):
                if tag in place:
                    put(place, tag, place[tag].VR, _longer(place[tag], edit), encodings)


def _longer(element: DataElement, edit: Edit) -> list[str]:
    """Return the values with the text before or behind each; an empty value stays empty."""
    before, behind = (edit.value, "") if edit.action == "prefix" else ("", edit.value)
    return [f"{before}{value}{behind}" if value else value for value in text_of(element)]


def _places(dataset: Dataset, containers: list[int], *, make: bool) -> Iterator[Dataset]:
    """Yield the data sets that an attribute of that path stands in; ``make``: a sequence without items gets one."""
    if not containers:
        yield dataset
        return
    first, *rest = containers
    if make and (first not in dataset or not dataset[first].value):
        dataset[first] = DataElement(first, "SQ", Sequence([Dataset()]))
    if first not in dataset:
        return
    if dataset[first].VR != "SQ":
        raise UnchangeableError(f"{named(first)} is no sequence here")
    for item in dataset[first].value:
        yield from _places(item, rest, make=make)


def _vr(place: Dataset, tag: int) -> str:
    if tag in place:
        found: str = place[tag].VR
        return found
    try:
        if not is_private(tag):
            return str(dictionary_VR(tag)).split(" or ", maxsplit=1)[0]
        creator = creator_of(tag)
        if creator is None:
            return "LO"
        return str(private_dictionary_VR(tag, str(place[creator].value)))
    except KeyError as error:
        raise UnchangeableError("nothing says what kind of value it has (VR), and it is not in the data set") from error
