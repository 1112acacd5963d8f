"""The picture of one data set: bytes in, a small PNG out. Of several frames, the one in the middle."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from hermes_common.dicom.uids import SyntaxKind, syntax_kind
from hermes_common.thumbnails import LONGEST_SIDE, MOST_OCTETS, NoPicture
from hermes_dispatcher.core.changing.encoding import decoded
from hermes_dispatcher.core.changing.errors import UnchangeableError
from hermes_dispatcher.core.picturing.errors import NoPictureError
from hermes_dispatcher.core.picturing.grey import has_tables, shown
from hermes_dispatcher.core.picturing.png import png

Array = np.ndarray[Any, Any]

_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_TIMES: Final = 6
"""Octets that decoding a frame takes for each of its own: the frame, its conversion, and what follows."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture; ``frame`` counted from 1."""

    png: bytes
    frame: int
    frames: int


def picture(data: bytes, syntax: str, most: int) -> Picture:
    """Return the picture of a data set; raise :class:`NoPictureError`. ``most``: octets of memory that it may take."""
    try:
        return _made(data, syntax, most)
    except (NoPictureError, MemoryError):
        raise
    except UnchangeableError as error:
        raise NoPictureError(NoPicture.UNREADABLE, "the data set cannot be read") from error
    except RecursionError as error:
        raise NoPictureError(NoPicture.UNREADABLE, "the sequences of the data set are nested too deep") from error
    except Exception as error:  # codecs raise whatever odd bytes provoke; each such case is one outcome
        reason = f"its pixels cannot be decoded ({UID(syntax).name}): {type(error).__name__}"
        raise NoPictureError(NoPicture.UNREADABLE, reason[:200]) from error


def _made(data: bytes, syntax: str, most: int) -> Picture:
    dataset = decoded(data, syntax, most // 2)
    if not any(name in dataset for name in _PIXELS):
        if syntax_kind(syntax) is SyntaxKind.REFERENCED:
            raise NoPictureError(NoPicture.NO_IMAGE, f"its pixels are elsewhere ({UID(syntax).name})")
        raise NoPictureError(NoPicture.NO_IMAGE, f"no image: {_kind(dataset)}")
    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise NoPictureError(NoPicture.NO_IMAGE, "no image: it has no rows or no columns")
    samples, bits = int(dataset.get("SamplesPerPixel") or 1), int(dataset.get("BitsAllocated") or 8)
    needed = 3 * len(data) + _TIMES * rows * columns * max(1, samples) * max(8, bits) // 8
    if needed > most:
        reason = f"a picture of {columns} x {rows} pixels takes about {needed} octets of memory, {most} are allowed"
        raise NoPictureError(NoPicture.TOO_LARGE, reason)
    frame = frames // 2 if frames > 1 else 0
    found = png(_drawn(dataset, syntax, frame))
    if len(found) > MOST_OCTETS:
        raise AssertionError("a picture of that size is smaller")
    return Picture(found, frame + 1, frames)


def _kind(dataset: Dataset) -> str:
    """Return what kind of object it is, by its SOP class; a private one by its UID."""
    uid = UID(str(dataset.get("SOPClassUID") or ""))
    return uid.name.removesuffix(" Storage")[:64] or "an object without a SOP class"


def _drawn(dataset: Dataset, syntax: str, frame: int) -> Array:
    values, says = get_decoder(UID(syntax)).as_array(dataset, index=frame)
    interpretation = str(says.get("photometric_interpretation") or dataset.get("PhotometricInterpretation") or "")
    if values.ndim == 3 and values.shape[2] == 3:
        return _reduced(_octets(values, int(says["bits_stored"])))
    if values.ndim != 2:
        raise NoPictureError(NoPicture.UNREADABLE, "its pixels have a number of samples that is not shown")
    if interpretation == "PALETTE COLOR":
        coloured = apply_color_lut(_sampled(values), dataset)
        return _octets(coloured, 8 * coloured.dtype.itemsize)
    padding = _padding(values, dataset)
    if has_tables(dataset) or padding is not None:
        small = _sampled(values)
        return shown(small, dataset, frame, None if padding is None else _sampled(padding))
    return shown(_reduced(values), dataset, frame)


def _octets(values: Array, bits: int) -> Array:
    if values.dtype == np.uint8 and bits >= 8:
        return values
    top = max(1, (1 << min(bits, 32)) - 1)
    found: Array = np.clip(values.astype(np.float64) * 255 / top, 0, 255).astype(np.uint8)
    return found


def _padding(values: Array, dataset: Dataset) -> Array | None:
    """Return which pixels are padding (PS3.3 C.7.5.1.1.2), or None."""
    pad = dataset.get("PixelPaddingValue")
    if not isinstance(pad, int) or values.dtype.kind not in "iu":
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((pad, limit if isinstance(limit, int) else pad))
    found: Array = (values >= low) & (values <= high)
    return found if found.any() else None


def _size(rows: int, columns: int) -> tuple[int, int]:
    longest = max(rows, columns)
    if longest <= LONGEST_SIDE:
        return rows, columns
    return max(1, rows * LONGEST_SIDE // longest), max(1, columns * LONGEST_SIDE // longest)


def _sampled(values: Array) -> Array:
    """Return a smaller image of pixels that are there: for values that cannot be averaged."""
    rows, columns = _size(*values.shape[:2])
    down = (np.arange(rows) * 2 + 1) * values.shape[0] // (2 * rows)
    across = (np.arange(columns) * 2 + 1) * values.shape[1] // (2 * columns)
    return values[np.ix_(down, across)]


def _reduced(values: Array) -> Array:
    """Return a smaller image, each pixel the mean of those that it stands for."""
    rows, columns = _size(*values.shape[:2])
    if (rows, columns) == values.shape[:2]:
        return values
    found, kind = values, values.dtype
    for axis, size in ((0, rows), (1, columns)):
        edges = np.arange(size) * found.shape[axis] // size
        counts = np.diff(np.append(edges, found.shape[axis]))
        shape = [1] * found.ndim
        shape[axis] = size
        found = np.add.reduceat(found, edges, axis=axis, dtype=np.float64) / counts.reshape(shape)
    return np.rint(found).astype(kind) if kind.kind in "iu" else found.astype(kind)
