"""A DIMSE message that is being received, and what can be wrong with the order of messages (PS3.7 8, PS3.8 9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hermes_common.dicom.command import CommandSet
from hermes_common.dicom.pdu import AbortReason
from hermes_receiver.handlers.commitment_messages import CommitmentInbox
from hermes_receiver.handlers.commitment_results import ResultInbox
from hermes_receiver.handlers.performing import StepInbox
from hermes_receiver.handlers.storing import Answer, EndlessDataSetError, Reception


class ViolationError(Exception):
    """The peer did something that the protocol does not allow at this point."""

    def __init__(self, words: str, reason: AbortReason = AbortReason.UNEXPECTED_PARAMETER) -> None:
        super().__init__(words)
        self.reason = reason


class PeerAbortedError(Exception):
    """The peer sent A-ABORT."""


@dataclass(slots=True)
class Drain:
    """A message that is answered without being taken: its data set is read and dropped."""

    answer: Answer
    left: int

    def take(self, fragment: memoryview) -> None:
        self.left -= len(fragment)
        if self.left < 0:
            raise EndlessDataSetError

    def finish(self) -> Answer:
        return self.answer

    def abandon(self) -> None:
        """Nothing is held."""


Sink: TypeAlias = Reception | Drain | CommitmentInbox | ResultInbox | StepInbox


@dataclass(slots=True)
class Current:
    """The message whose data set is being received."""

    context_id: int
    command: CommandSet
    sink: Sink
