"""The kinds of target, behind one Protocol (``interface``): one module for each."""

from typing import assert_never

from hermes_common.targets import AnyTarget, DicomTarget, FolderTarget, S3Target, SftpTarget, StowTarget
from hermes_dispatcher.adapters.targets.dicom import DicomSender
from hermes_dispatcher.adapters.targets.folder import FolderSender
from hermes_dispatcher.adapters.targets.interface import Sender
from hermes_dispatcher.adapters.targets.s3 import S3Sender
from hermes_dispatcher.adapters.targets.sftp import SftpSender
from hermes_dispatcher.adapters.targets.stow import StowSender


def sender_of(target: AnyTarget) -> Sender:
    """Return what sends to a target, by its kind. Its secrets have been opened."""
    match target:
        case DicomTarget():
            return DicomSender(target)
        case StowTarget():
            return StowSender(target)
        case S3Target():
            return S3Sender(target)
        case SftpTarget():
            return SftpSender(target)
        case FolderTarget():
            return FolderSender(target)
        case _:
            assert_never(target)
