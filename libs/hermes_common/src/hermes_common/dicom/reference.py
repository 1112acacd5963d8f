"""The same attributes, read by pydicom: the fallback for data sets that the walker does not understand, and the
tests' reference.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Mapping
from typing import Any, Final

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence

from hermes_common.dicom.errors import UnreadableDataset
from hermes_common.dicom.tags import SPECIFIC_CHARACTER_SET, TagNode
from hermes_common.dicom.walker import MAX_DEPTH, MAX_ITEMS, UNDEFINED, Data, RawElement

MAX_BYTES: Final = 1024 * 1024
"""How much of a data set is given to pydicom, which holds several copies of what it reads."""

_ONE_AT_A_TIME = threading.Lock()  # warnings.catch_warnings is process-wide


def read_elements(
    data: Data, *, explicit: bool, little: bool, nodes: Mapping[int, TagNode], last: int
) -> list[RawElement]:
    """Return the wanted elements as :class:`~hermes_common.dicom.walker.Walker` would.

    Raises :class:`UnreadableDataset` with pydicom's reason for anything that goes wrong inside it.
    """
    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream = io.BytesIO(bytes(data[:MAX_BYTES]))
            dataset = read_dataset(stream, not explicit, little, stop_when=lambda tag, _vr, _length: int(tag) > last)
            return _collect(dataset, nodes, None, 0)
    except UnreadableDataset:
        raise
    except Exception as exc:  # the reader raises whatever hostile bytes provoke; each such case is one outcome
        raise UnreadableDataset(f"neither reader follows its structure ({type(exc).__name__})") from exc


def _collect(dataset: Dataset, nodes: Mapping[int, TagNode], charset: bytes | None, depth: int) -> list[RawElement]:
    if depth > MAX_DEPTH:
        raise UnreadableDataset(f"sequences are nested more than {MAX_DEPTH} deep")
    found: list[RawElement] = []
    if SPECIFIC_CHARACTER_SET in dataset:
        charset = _raw(dataset.get_item(SPECIFIC_CHARACTER_SET))[1]
    for tag, node in nodes.items():
        if tag not in dataset:
            continue
        raw = dataset.get_item(tag)
        if node.children or "SQ" in (raw.VR, node.vr):
            items = dataset[tag].value
            if isinstance(items, Sequence):
                for item in items[:MAX_ITEMS]:
                    found += _collect(item, node.children, charset, depth + 1)
                if node.leaf:
                    found.append(RawElement(node, "SQ", str(len(items)).encode(), charset))
                continue
        if node.leaf:
            vr, value = _raw(raw)
            found.append(RawElement(node, vr or node.vr, value, charset))
    return found


def _raw(element: Any) -> tuple[str, bytes]:
    """Return VR and bytes of an element whether or not pydicom has converted it already.

    Raises :class:`UnreadableDataset` for a value that ends before its length says: half a UID is another UID.
    """
    if isinstance(element, RawDataElement):
        if element.length != UNDEFINED and len(element.value or b"") < element.length:
            raise UnreadableDataset(f"({element.tag.group:04x},{element.tag.element:04x}) is cut off")
        return element.VR or "", element.value or b""
    value = element.value
    values = (
        []
        if value is None
        else value
        if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        else [value]
    )
    return "UT" if element.VR == "UT" else "LO", "\\".join(str(v) for v in values).encode("latin-1", "replace")
