"""The pixels of a data set in another transfer syntax, by pydicom and its plug-ins; without a loss unless asked for."""

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from hermes_common.changes import JPEG_2000
from hermes_common.dicom.uids import EXPLICIT_LITTLE, SyntaxKind, encoding_of, syntax_kind
from hermes_dispatcher.core.changing.encoding import everything
from hermes_dispatcher.core.changing.errors import UnchangeableError, kind_of
from hermes_dispatcher.core.changing.identity import lossy_uid

_PIXELS: Final = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_WORDS: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_SUBSAMPLED: Final = ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420")
_METHOD: Final = "ISO_15444_1"


def octets_of_pixels(dataset: Dataset) -> int:
    """Return how many octets the pixels have without compression, as far as their description says (PS3.3 C.7.6.3)."""
    names = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")
    try:
        rows, columns, bits, samples, frames = (int(dataset.get(name) or 0) for name in names)
    except (TypeError, ValueError) as error:
        raise UnchangeableError(f"the description of its pixels cannot be read: {kind_of(error)}") from error
    return (max(0, rows) * max(0, columns) * max(1, frames) * max(1, samples) * max(0, bits) + 7) // 8


def transcoded(dataset: Dataset, source: str, to: str, ratio: float | None) -> str:
    """Change the pixels in place and return the transfer syntax to write: ``to``, or explicit VR without pixels.

    Raises :class:`UnchangeableError`. ``ratio`` is that of lossy compression.
    """
    if source == to:
        return to
    if not any(tag in dataset for tag in _PIXELS):
        _swap(dataset, source, to)
        return EXPLICIT_LITTLE if syntax_kind(to) is not SyntaxKind.NATIVE else to
    if to == JPEG_2000 and ratio is None:
        raise UnchangeableError("it would lose something by compression, which this target does not allow")
    try:
        if syntax_kind(source) is not SyntaxKind.NATIVE:
            _decompress(dataset, source)
        _swap(dataset, source, to)
        if syntax_kind(to) is not SyntaxKind.NATIVE:
            _compress(dataset, to, ratio)
    except UnchangeableError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # codecs raise whatever odd bytes provoke; each such case is one outcome
        name = UID(source).name
        raise UnchangeableError(f"it cannot be transcoded from {name} to {UID(to).name}: {kind_of(error)}") from error
    return to


def _decompress(dataset: Dataset, source: str) -> None:
    if "PixelData" not in dataset or syntax_kind(source) is SyntaxKind.REFERENCED:
        raise UnchangeableError(f"its pixels are not in it ({UID(source).name})")
    _drop_compressed_icons(dataset)
    dataset.decompress(as_rgb=False, generate_instance_uid=False)
    if dataset.PhotometricInterpretation in _SUBSAMPLED:
        dataset.PhotometricInterpretation = "YBR_FULL"  # decoders give every pixel its own colour


def _compress(dataset: Dataset, to: str, ratio: float | None) -> None:
    options: dict[str, Any] = {"generate_instance_uid": False}
    before = octets_of_pixels(dataset)
    if to == JPEG_2000:
        options["j2k_cr"] = [ratio]
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    if int(dataset.SamplesPerPixel) > 1 and dataset.get("PlanarConfiguration") == 1:
        _by_pixel(dataset, before)
    dataset.compress(UID(to), **options)
    if to == JPEG_2000 and ratio is not None:
        _say_what_was_lost(dataset, before / max(1, len(dataset.PixelData)), ratio)


def _by_pixel(dataset: Dataset, octets: int) -> None:
    """Put the samples of each pixel beside each other, where they are in planes (PS3.3 C.7.6.3.1.3)."""
    size, samples = int(dataset.BitsAllocated) // 8, int(dataset.SamplesPerPixel)
    planes = np.frombuffer(dataset.PixelData[:octets], f"u{size}")
    ordered = planes.reshape(-1, samples, int(dataset.Rows) * int(dataset.Columns)).transpose(0, 2, 1).tobytes()
    dataset.PixelData = ordered + b"\0" * (len(ordered) % 2)
    dataset.PlanarConfiguration = 0


def _say_what_was_lost(dataset: Dataset, reached: float, ratio: float) -> None:
    """Another instance, with the history of its loss (PS3.3 C.7.6.1.1.5)."""
    dataset.LossyImageCompression = "01"
    for keyword, value in (("LossyImageCompressionRatio", f"{reached:.4g}"), ("LossyImageCompressionMethod", _METHOD)):
        found = dataset.get(keyword)
        earlier = [] if not found else [found] if isinstance(found, str) or not hasattr(found, "__iter__") else [*found]
        setattr(dataset, keyword, [*(str(one) for one in earlier), value])
    dataset.SOPInstanceUID = lossy_uid(str(dataset.SOPInstanceUID), JPEG_2000, ratio)


def _drop_compressed_icons(dataset: Dataset) -> None:
    """An icon may be compressed like the image that it is of: it is left out rather than left undecodable."""
    dataset.pop("IconImageSequence", None)
    for _, element in _nested_pixels(dataset):
        if getattr(element, "is_undefined_length", False):
            raise UnchangeableError("there are compressed pixels inside a sequence")


def _nested_pixels(dataset: Dataset) -> Iterator[tuple[Dataset, Any]]:
    for place, element in everything(dataset):
        if place is not dataset and int(getattr(element, "tag", 0)) == _PIXELS[0]:
            yield place, element


def _swap(dataset: Dataset, source: str, to: str) -> None:
    """Swap the octets of what is made of words when their order changes (PS3.5 7.3)."""
    if encoding_of(source).little == encoding_of(to).little:
        return
    if str(dataset.get("BitsAllocated") or 0) not in ("0", "1", "8", "16"):
        raise UnchangeableError("big endian pixels of more than 16 bits cannot be transcoded")
    for _, found in everything(dataset):
        element: Any = found
        size = _WORDS.get(str(element.VR), 1)
        if size > 1 and isinstance(element.value, bytes) and element.value:
            element.value = _swapped(element.value, size)


def _swapped(value: bytes, size: int) -> bytes:
    letter = {2: "H", 4: "I", 8: "Q"}[size]
    count, rest = divmod(len(value), size)
    if rest:
        raise UnchangeableError("a value made of words ends in the middle of one")
    return struct.pack(f"<{count}{letter}", *struct.unpack(f">{count}{letter}", value))
