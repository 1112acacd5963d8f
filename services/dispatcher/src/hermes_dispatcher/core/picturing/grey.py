"""Grey values as they are to be seen: modality transformation, window, polarity (PS3.3 C.11.1, C.11.2; PS3.4 N.2)."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

Array = np.ndarray[Any, Any]

_DARKEST, _BRIGHTEST = 1.0, 99.0
"""Percentiles that become black and white where the data set says nothing that shows something."""
_LEAST_SPREAD: Final = 8
"""Steps between the darkest and the brightest pixel below which a window shows nothing."""


def has_tables(dataset: Dataset) -> bool:
    """Return whether values are looked up in tables, and may therefore not be averaged before."""
    return bool(dataset.get("ModalityLUTSequence")) or bool(dataset.get("VOILUTSequence"))


def shown(values: Array, dataset: Dataset, frame: int, padding: Array | None = None) -> Array:
    """Return grey values of a frame (from 0) as octets; ``padding``: which of them are no part of the image."""
    image = _modality(values, dataset, frame)
    if dataset.get("VOILUTSequence"):
        seen = _stretched(np.asarray(apply_voi(image.astype(values.dtype, copy=False), dataset), np.float64), padding)
    else:
        window = _window(dataset, frame)
        stretched = _stretched(image, padding)
        windowed = stretched if window is None else _windowed(image, *window)
        shows = _spread(windowed, padding) >= min(_LEAST_SPREAD, _spread(stretched, padding))
        seen = windowed if shows else stretched
    grey: Array = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
    if _is_inverse(dataset):
        grey = 255 - grey
    if padding is not None:
        grey[padding] = 0
    return grey


def _is_inverse(dataset: Dataset) -> bool:
    return bool(dataset.get("PhotometricInterpretation") == "MONOCHROME1")


def _modality(values: Array, dataset: Dataset, frame: int) -> Array:
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(values, dataset), np.float64)
    place = _of_frame(dataset, "PixelValueTransformationSequence", frame) or dataset
    slope, intercept = _number(place.get("RescaleSlope")), _number(place.get("RescaleIntercept"))
    found: Array = values.astype(np.float64)
    if slope is None or intercept is None or slope == 0:
        return found
    return found * slope + intercept


def _window(dataset: Dataset, frame: int) -> tuple[float, float, str] | None:
    place = _of_frame(dataset, "FrameVOILUTSequence", frame) or dataset
    centre, width = _number(place.get("WindowCenter")), _number(place.get("WindowWidth"))
    if centre is None or width is None or width <= 0:
        return None
    return centre, width, str(place.get("VOILUTFunction") or "LINEAR")


def _windowed(image: Array, centre: float, width: float, function: str) -> Array:
    """Apply a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    found: Array
    if function == "SIGMOID":
        found = 255 / (1 + np.exp(np.clip(-4 * (image - centre) / width, -60, 60)))
    elif function == "LINEAR_EXACT" or width <= 1:
        found = ((image - centre) / width + 0.5) * 255
    else:
        found = ((image - (centre - 0.5)) / (width - 1) + 0.5) * 255
    clipped: Array = np.clip(found, 0, 255)
    return clipped


def _stretched(image: Array, padding: Array | None) -> Array:
    kept = image if padding is None else image[~padding]
    kept = kept[np.isfinite(kept)]
    if kept.size == 0:
        return np.zeros_like(image)
    low, high = np.percentile(kept, (_DARKEST, _BRIGHTEST))
    if high <= low:
        low, high = float(kept.min()), float(kept.max())
    if high <= low:
        return np.full_like(image, 128.0)
    found: Array = np.clip((np.nan_to_num(image, nan=low, posinf=high, neginf=low) - low) / (high - low) * 255, 0, 255)
    return found


def _spread(grey: Array, padding: Array | None) -> float:
    kept = grey if padding is None else grey[~padding]
    return float(kept.max() - kept.min()) if kept.size else 0.0


def _of_frame(dataset: Dataset, keyword: str, frame: int) -> Dataset | None:
    """Return what the functional groups of an enhanced object say of a frame (PS3.3 C.7.6.16)."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in ([own[frame]] if frame < len(own) else [], dataset.get("SharedFunctionalGroupsSequence") or []):
        for group in groups:
            if found := group.get(keyword):
                return found[0]  # type: ignore[no-any-return]  # pydicom's sequences are of any
    return None


def _number(value: Any) -> float | None:
    first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else value
    try:
        found = float(first)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
