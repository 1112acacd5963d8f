"""The kinds of target, behind one Protocol (``interface``)."""

from typing import assert_never

from hermes_common.config import DicomTarget, FolderTarget
from hermes_dispatcher.adapters.targets.dicom import DicomSender
from hermes_dispatcher.adapters.targets.folder import FolderSender
from hermes_dispatcher.adapters.targets.interface import Sender


def sender_of(target: DicomTarget | FolderTarget) -> Sender:
    """Return what sends to a target, by its kind."""
    match target:
        case DicomTarget():
            return DicomSender(target)
        case FolderTarget():
            return FolderSender(target)
        case _:
            assert_never(target)
