"""A data set out of its bytes and back, in any transfer syntax that does not change the pixels."""

import io
import zlib
from collections.abc import Iterator
from typing import Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from hermes_common.dicom.uids import encoding_of
from hermes_dispatcher.core.changing.errors import UnchangeableError, kind_of, named

DEEPEST: Final = 32
"""Sequences inside each other."""
_UNDEFINED: Final = 0xFFFFFFFF


def decoded(data: bytes, syntax: str, most: int) -> Dataset:
    """Return the data set; raise :class:`UnchangeableError`. ``most``: octets that it may have when inflated."""
    encoding = encoding_of(syntax)
    plain = _inflated(data, most) if encoding.deflated else data
    try:
        dataset = read_dataset(io.BytesIO(plain), not encoding.explicit, encoding.little)
        for element in list(dataset.elements()):
            if isinstance(element, RawDataElement) and _is_cut(element):
                raise UnchangeableError(f"the data set is cut off in {named(int(element.tag))}")
        _check_depth(dataset, 0)
    except UnchangeableError:
        raise
    except RecursionError as error:
        raise UnchangeableError("the sequences of the data set are nested too deep") from error
    except Exception as error:  # the reader raises whatever odd bytes provoke; each such case is one outcome
        raise UnchangeableError(f"the data set cannot be read: {kind_of(error)}") from error
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def encoded(dataset: Dataset, syntax: str) -> bytes:
    """Return the bytes of a data set whose pixels fit the transfer syntax; raise :class:`UnchangeableError`."""
    encoding = encoding_of(syntax)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = encoding.little, not encoding.explicit
    try:
        if dataset.original_encoding != (buffer.is_implicit_VR, buffer.is_little_endian):
            for _ in everything(dataset):  # reading an element frees it from the encoding in which it came
                pass
        write_dataset(buffer, dataset)
    except UnchangeableError:
        raise
    except Exception as error:  # as in decoded
        raise UnchangeableError(f"the data set cannot be written: {kind_of(error)}") from error
    plain: bytes = buffer.getvalue()
    if not encoding.deflated:
        return plain
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(plain) + deflater.flush()
    return deflated + b"\0" * (len(deflated) % 2)


def everything(dataset: Dataset) -> Iterator[tuple[Dataset, object]]:
    """Yield every element, those in sequences too, with the data set that it is in."""
    for tag in list(dataset.keys()):
        element = _read(dataset, tag)
        yield dataset, element
        if element.VR == "SQ":
            for item in element.value:
                yield from everything(item)


def _read(dataset: Dataset, tag: int) -> DataElement:
    try:
        return dataset[tag]
    except RecursionError:
        raise
    except Exception as error:  # as in decoded
        raise UnchangeableError(f"{named(int(tag))} cannot be read: {type(error).__name__}") from error


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, most)
    except zlib.error as error:
        raise UnchangeableError(f"the data set cannot be inflated: {error}") from error
    if inflater.unconsumed_tail:
        raise UnchangeableError(f"the data set has more than {most} octets when inflated")
    if not inflater.eof:
        raise UnchangeableError("the deflated data set is cut off")
    return plain


def _is_cut(element: RawDataElement) -> bool:
    return element.length != _UNDEFINED and len(element.value or b"") < element.length


def _check_depth(dataset: Dataset, depth: int) -> None:
    if depth > DEEPEST:
        raise UnchangeableError(f"the sequences of the data set are nested more than {DEEPEST} deep")
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if raw.VR in ("SQ", None, "UN") and (element := _read(dataset, tag)).VR == "SQ":
            for item in element.value:
                _check_depth(item, depth + 1)
