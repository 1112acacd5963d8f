"""The data sets of Modality Performed Procedure Step: what is created and what is set, read and checked (PS3.4 F.7.2).

Of the attributes of a step those are read that say how far it is, which studies it belongs to, and which series and
instances it made. Nothing about the patient is looked at. What is read is raw text: values are checked here and nowhere
else, so that a malformed one is an answer, not a warning of a library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence

from hermes_common.dicom.uids import encoding_of, is_valid_uid
from hermes_common.events.mpps import MAX_SERIES, MAX_STUDIES, PerformedSeries, StepStatus

MAX_LENGTH: Final = 16 * 1024 * 1024

STATUS: Final = 0x0040_0252
SCHEDULED_STEPS: Final = 0x0040_0270
STUDY: Final = 0x0020_000D
MODALITY: Final = 0x0008_0060
PERFORMED_SERIES: Final = 0x0040_0340
SERIES: Final = 0x0020_000E
IMAGES: Final = 0x0008_1140
OTHERS: Final = 0x0040_0220
SOP_INSTANCE: Final = 0x0008_1155

TYPE_1: Final = (0x0008_0060, 0x0040_0241, 0x0040_0244, 0x0040_0245, STATUS, 0x0040_0253, SCHEDULED_STEPS)
"""What a step has to have from the beginning (PS3.4 table F.7.2-1, N-CREATE, type 1)."""

_NAMES: Final[Mapping[int, str]] = {
    0x0008_0060: "Modality",
    0x0040_0241: "Performed Station AE Title",
    0x0040_0244: "Performed Procedure Step Start Date",
    0x0040_0245: "Performed Procedure Step Start Time",
    STATUS: "Performed Procedure Step Status",
    0x0040_0253: "Performed Procedure Step ID",
    SCHEDULED_STEPS: "Scheduled Step Attributes Sequence",
    STUDY: "Study Instance UID",
    PERFORMED_SERIES: "Performed Series Sequence",
    SERIES: "Series Instance UID",
    SOP_INSTANCE: "Referenced SOP Instance UID",
}


Fault = Literal["unreadable", "missing", "empty", "invalid", "too_much"]


class InvalidStep(Exception):  # noqa: N818 - named after the situation
    """A data set that cannot be taken. The message says why, in at most 64 characters; ``tags`` are concerned."""

    def __init__(self, fault: Fault, words: str, tags: tuple[int, ...] = ()) -> None:
        super().__init__(words[:64])
        self.fault = fault
        self.tags = tags


@dataclass(frozen=True, slots=True)
class StepChange:
    """What a data set says of a step. None is what it says nothing of."""

    status: StepStatus | None
    studies: tuple[str, ...]
    series: tuple[PerformedSeries, ...] | None
    modality: str = ""


def parse_create(data: bytes, transfer_syntax: str) -> StepChange:
    """Read the attributes of an N-CREATE request; raises :class:`InvalidStep`."""
    dataset = _dataset(data, transfer_syntax)
    with_names = {tag: _present(dataset, tag) for tag in TYPE_1}
    _refuse("missing", [tag for tag, value in with_names.items() if value is None])
    _refuse("empty", [tag for tag, value in with_names.items() if not value])
    change = _change(dataset)
    if change.status is not StepStatus.IN_PROGRESS:
        raise InvalidStep("invalid", "a step is created with the status IN PROGRESS", (STATUS,))
    return change


def parse_set(data: bytes, transfer_syntax: str) -> StepChange:
    """Read the modifications of an N-SET request; raises :class:`InvalidStep`."""
    return _change(_dataset(data, transfer_syntax))


def _dataset(data: bytes, transfer_syntax: str) -> Dataset:
    encoding = encoding_of(transfer_syntax)
    try:
        return read_dataset(BytesIO(data), not encoding.explicit, encoding.little)
    except Exception as exc:  # pydicom raises whatever bytes of a stranger provoke; each such case is one outcome
        raise InvalidStep("unreadable", f"unreadable data set ({type(exc).__name__})") from exc


def _change(dataset: Dataset) -> StepChange:
    studies = tuple(dict.fromkeys(_uid(item, STUDY) for item in _items(dataset, SCHEDULED_STEPS) or ()))
    if len(studies) > MAX_STUDIES:
        raise InvalidStep("too_much", f"more than {MAX_STUDIES} studies in one step")
    return StepChange(_status(dataset), studies, _series(dataset), _text(dataset, MODALITY) or "")


def _status(dataset: Dataset) -> StepStatus | None:
    text = _text(dataset, STATUS)
    if text is None:
        return None
    try:
        return StepStatus(text)
    except ValueError:
        raise InvalidStep(
            "empty" if not text else "invalid", f"{_NAMES[STATUS]}: not a value of it", (STATUS,)
        ) from None


def _series(dataset: Dataset) -> tuple[PerformedSeries, ...] | None:
    items = _items(dataset, PERFORMED_SERIES)
    if items is None:
        return None
    named: dict[str, tuple[set[str], set[str]]] = {}
    for item in items:
        images, others = named.setdefault(_uid(item, SERIES), (set(), set()))
        images.update(_uid(each, SOP_INSTANCE) for each in _items(item, IMAGES) or ())
        others.update(_uid(each, SOP_INSTANCE) for each in _items(item, OTHERS) or ())
    if len(named) > MAX_SERIES:
        raise InvalidStep("too_much", f"more than {MAX_SERIES} series in one step")
    return tuple(
        PerformedSeries(series_uid=uid, images=len(images), others=len(others - images))
        for uid, (images, others) in named.items()
    )


def _present(dataset: Dataset, tag: int) -> bool | None:
    """Return whether an attribute has a value; None if it is not there at all."""
    if tag in (SCHEDULED_STEPS, PERFORMED_SERIES):
        items = _items(dataset, tag)
        return None if items is None else bool(items)
    text = _text(dataset, tag)
    return None if text is None else bool(text)


def _items(dataset: Dataset, tag: int) -> list[Dataset] | None:
    if tag not in dataset:
        return None
    try:
        value = dataset[tag].value
    except Exception as exc:  # as in _dataset: what is inside of a sequence is read only now
        raise InvalidStep("unreadable", f"unreadable data set ({type(exc).__name__})", (tag,)) from exc
    if value is None or value == b"":
        return []
    if not isinstance(value, Sequence):
        raise InvalidStep("invalid", f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is not a sequence", (tag,))
    return list(value)


def _text(dataset: Dataset, tag: int) -> str | None:
    """Return the value of an attribute as it was sent, without padding."""
    if tag not in dataset:
        return None
    value = dataset.get_item(tag).value
    text = value.decode("latin-1") if isinstance(value, bytes) else "" if value is None else str(value)
    return text.strip(" \0")


def _uid(dataset: Dataset, tag: int) -> str:
    text = _text(dataset, tag)
    _refuse("missing", [tag] if text is None else [])
    _refuse("empty", [tag] if not text else [])
    if text is None or not is_valid_uid(text):
        raise InvalidStep("invalid", f"{_NAMES[tag]}: not a UID", (tag,))
    return text


def _refuse(fault: Literal["missing", "empty"], tags: Iterable[int]) -> None:
    found = tuple(tags)
    if found:
        words = "is missing" if fault == "missing" else "has no value"
        raise InvalidStep(fault, f"{_NAMES[found[0]]} {words}", found)
