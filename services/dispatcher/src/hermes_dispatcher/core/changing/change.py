"""The whole change of one data set: bytes in, bytes out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from hermes_common.changes import Changes
from hermes_common.dicom.errors import DicomError
from hermes_common.dicom.header import extract_header
from hermes_common.edits import parse_edit
from hermes_common.previews import Difference
from hermes_dispatcher.core.changing import edits
from hermes_dispatcher.core.changing.deidentify import deidentify
from hermes_dispatcher.core.changing.differences import Flat, differences, flat
from hermes_dispatcher.core.changing.encoding import decoded, encoded
from hermes_dispatcher.core.changing.errors import UnchangeableError, kind_of
from hermes_dispatcher.core.changing.identity import Identity, usable_uid
from hermes_dispatcher.core.changing.order import Order
from hermes_dispatcher.core.changing.transcode import octets_of_pixels, transcoded
from hermes_dispatcher.core.changing.uids import replace_uids


@dataclass(frozen=True, slots=True)
class Changed:
    """A data set as it is to be sent, and who it is now."""

    data: bytes
    syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    differences: Sequence[Difference] = ()
    changed: int = 0
    same: int = 0


def change(data: bytes, order: Order, *, compare: bool = False) -> Changed:
    """Change a data set; raise :class:`UnchangeableError`, after which nothing of it may be sent."""
    if 3 * len(data) > order.most:
        raise UnchangeableError(f"changing {len(data)} octets takes more memory than the {order.most} that are allowed")
    try:
        return _changed(data, order, compare=compare)
    except (UnchangeableError, MemoryError):
        raise
    except RecursionError as error:
        raise UnchangeableError("the sequences of the data set are nested too deep") from error
    except Exception as error:  # the library raises whatever odd bytes provoke; each such case is one outcome
        raise UnchangeableError(f"it cannot be changed: {kind_of(error)}") from error


def _changed(data: bytes, order: Order, *, compare: bool) -> Changed:
    dataset = decoded(data, order.syntax, order.most)
    before: Flat = flat(decoded(data, order.syntax, order.most)) if compare else {}
    if order.changes is not None:
        _alter(dataset, order.changes)
    syntax = order.syntax
    if order.to is not None:
        needed = 3 * (len(data) + octets_of_pixels(dataset))
        if needed > order.most:
            raise UnchangeableError(f"transcoding takes about {needed} octets of memory, {order.most} are allowed")
        syntax = transcoded(dataset, order.syntax, order.to, order.ratio)
    compared = differences(before, flat(dataset)) if compare else ([], 0, 0)
    return _identified(encoded(dataset, syntax), syntax, *compared)


def _alter(dataset: Dataset, changes: Changes) -> None:
    identity = Identity(changes.key.get_secret_value())
    if changes.deidentify is not None:
        deidentify(dataset, changes.deidentify, identity)
    elif changes.new_uids:
        replace_uids(dataset, identity)
    edits.apply(dataset, [parse_edit(line) for line in changes.edits])


def _identified(data: bytes, syntax: str, found: list[Difference], changed: int, same: int) -> Changed:
    """Read back who the changed instance is, from its bytes: what is said of it then agrees with what is sent."""
    try:
        header = extract_header(data, syntax)
    except DicomError as error:
        raise UnchangeableError(f"what came out cannot be read: {error}") from error
    uids = (header.sop_class_uid, header.sop_instance_uid, header.series_uid, header.study_uid)
    if not all(map(usable_uid, uids)):
        raise UnchangeableError("what came out has no usable UIDs")
    return Changed(data, syntax, *uids, found, changed, same)
