"""The kinds of target, behind one Protocol (``interface``): one module for each."""

from collections.abc import Sequence
from typing import assert_never

from hermes_common.runtime.sealing import Sealer, SealingError, opened
from hermes_common.targets import (
    AnyTarget,
    DicomTarget,
    FolderTarget,
    S3Target,
    SftpTarget,
    StowTarget,
    at_endpoint,
)
from hermes_dispatcher.adapters.objects import Item, Supply
from hermes_dispatcher.adapters.targets.dicom import DicomSender
from hermes_dispatcher.adapters.targets.folder import FolderSender
from hermes_dispatcher.adapters.targets.http import slowest_of
from hermes_dispatcher.adapters.targets.interface import Permit, Report, Sender, SenderOf
from hermes_dispatcher.adapters.targets.steps import Steps, TroubleError
from hermes_dispatcher.adapters.targets.stow import StowSender
from hermes_dispatcher.core.outcomes import NotDelivered, Trouble


def sender_of(target: AnyTarget, endpoint: str = "") -> Sender:
    """Return what sends to a target, by its kind, at one of its endpoints. Its secrets have been opened.

    Clients that take long to import are imported with the first target that needs them.
    """
    slowest = slowest_of(target) if isinstance(target, StowTarget | S3Target) else 0  # of all its endpoints together
    target = at_endpoint(target, endpoint)
    match target:
        case DicomTarget():
            return DicomSender(target)
        case StowTarget():
            return StowSender(target, slowest)
        case S3Target():
            from hermes_dispatcher.adapters.targets.s3 import S3Sender

            return S3Sender(target, slowest)
        case SftpTarget():
            from hermes_dispatcher.adapters.targets.sftp import SftpSender

            return SftpSender(target)
        case FolderTarget():
            return FolderSender(target)
        case _:
            assert_never(target)


class ClosedSender:
    """Stands for a target whose secrets cannot be opened: says why, and sends nothing."""

    def __init__(self, reason: str) -> None:
        self._trouble = TroubleError(Trouble.REJECTED, reason)

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:  # noqa: ARG002  # it is the interface
        """Send nothing."""
        return self._trouble.outcome

    def test(self, steps: Steps) -> None:
        """Fail, with the reason."""

        def fail() -> None:
            raise self._trouble

        steps.take("open the secrets", fail, lambda _: "")


def opening(sealer: Sealer) -> SenderOf:
    """Return what makes a sender of a target as it is stored, its secrets sealed."""

    def made(target: AnyTarget, endpoint: str = "") -> Sender:
        try:
            return sender_of(opened(target, sealer), endpoint)
        except SealingError as error:
            return ClosedSender(str(error))

    return made
