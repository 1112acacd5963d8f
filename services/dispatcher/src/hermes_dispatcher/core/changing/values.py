"""Writing values into a data set so that they are what they are meant to be, or not at all."""

from typing import Any, Final

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from hermes_dispatcher.core.changing.errors import UnchangeableError, named

TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Written in the character set of the data set (PS3.5 6.1.2)."""
_ONE_BYTE: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
WRITABLE: Final = TEXT | _ONE_BYTE
_WHOLE: Final = frozenset({"LT", "ST", "UT", "UR"})
"""Where a backslash is a character, and values are not several."""


def text_of(element: DataElement) -> list[str]:
    """Return the values of an element as texts; an empty one has none."""
    value: Any = element.value
    if value is None or value == "":
        return []
    is_one = isinstance(value, str | bytes) or not hasattr(value, "__iter__")
    if is_one or (element.VR == "PN" and hasattr(value, "components")):
        return [str(value)]
    return [str(one) for one in value]


def put(dataset: Dataset, tag: int, vr: str, values: list[str], encodings: list[str]) -> None:
    """Write texts as the value of an element; raise :class:`UnchangeableError` if they do not fit (PS3.5 6.2)."""
    name = named(tag)
    if vr not in WRITABLE:
        raise UnchangeableError(f"{name} has the VR {vr}, into which no text can be written")
    for value in values:
        try:
            validate_value(vr, value, config.RAISE)
        except (ValueError, TypeError) as error:
            words = f"{len(value)} characters that do not fit the VR {vr} (PS3.5 6.2)"
            raise UnchangeableError(f"{name} cannot have that value: {words}") from error
        if vr not in _WHOLE and "\\" in value:
            raise UnchangeableError(f"{name} cannot have a backslash in a value")
        if not value.isascii() and (vr not in TEXT or not _can_be_encoded(value, encodings)):
            raise UnchangeableError(f"{name} cannot be written in the character set of the data set")
    dataset[tag] = DataElement(tag, vr, values if len(values) > 1 else values[0] if values else "")


def encodings_of(dataset: Dataset) -> list[str]:
    """Return the Python codecs of a data set's character set."""
    found = dataset.get("SpecificCharacterSet")
    codecs: list[str] = convert_encodings(found)
    return codecs


def _can_be_encoded(value: str, encodings: list[str]) -> bool:
    for encoding in encodings[:1]:
        try:
            value.encode(encoding)
        except (UnicodeError, LookupError):
            return False
    return True
