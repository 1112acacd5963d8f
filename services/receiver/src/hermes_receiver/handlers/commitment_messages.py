"""Storage commitment on one association: N-ACTION in, N-EVENT-REPORT out (PS3.4 J.3.2, J.3.3)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hermes_common.dicom import command as dimse
from hermes_common.dicom import pdu as pdus
from hermes_common.dicom import status
from hermes_common.dicom.associate import NegotiatedContext
from hermes_common.dicom.command import CommandSet
from hermes_common.dicom.commitment import (
    MAX_REQUEST_LENGTH,
    REQUEST_COMMITMENT,
    InvalidCommitmentRequest,
    encode_result,
    parse_request,
)
from hermes_common.dicom.uids import COMMITMENT, COMMITMENT_INSTANCE
from hermes_common.runtime.dicom.wire import Wire
from hermes_receiver.core.limits import Limits
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers.committing import (
    Commitments,
    DuplicateTransactionError,
    Letter,
    Mailbox,
    TooManyRequestsError,
)
from hermes_receiver.handlers.storing import Answer, EndlessDataSetError

_TICK: Final = timedelta(milliseconds=50)


def refusal_of(command: CommandSet) -> Answer | None:
    """Say why an N-ACTION request is not for us, before its data set is looked at."""
    if command.text(dimse.REQUESTED_SOP_CLASS) != COMMITMENT:
        return Answer(status.SOP_CLASS_NOT_SUPPORTED, "only storage commitment is served here")
    if command.text(dimse.REQUESTED_SOP_INSTANCE) != COMMITMENT_INSTANCE:
        return Answer(status.NO_SUCH_INSTANCE, "not the well-known instance of storage commitment")
    if command.number(dimse.ACTION_TYPE) != REQUEST_COMMITMENT:
        return Answer(status.NO_SUCH_ACTION, "the only action is 1, request storage commitment")
    return None if command.has_data_set else Answer(status.INVALID_ARGUMENT, "no data set")


@dataclass(slots=True)
class CommitmentInbox:
    """The data set of an N-ACTION request on its way in."""

    commitments: Commitments
    origin: Origin
    mailbox: Mailbox
    transfer_syntax: str
    data: bytearray = field(default_factory=bytearray)

    def take(self, fragment: memoryview) -> None:
        """Take bytes; raises :class:`EndlessDataSetError`."""
        if len(self.data) + len(fragment) > MAX_REQUEST_LENGTH:
            raise EndlessDataSetError
        self.data += fragment

    def finish(self) -> Answer:
        """Keep the request and return the answer: Success only when it is on the disk."""
        try:
            self.commitments.submit(self.origin, parse_request(bytes(self.data), self.transfer_syntax), self.mailbox)
        except InvalidCommitmentRequest as exc:
            return Answer(status.INVALID_ARGUMENT, str(exc))
        except DuplicateTransactionError:
            return Answer(status.DUPLICATE_TRANSACTION, "the transaction UID is in use")
        except TooManyRequestsError:
            return Answer(status.RESOURCE_LIMITATION, "too many requests wait")
        except OSError:
            return Answer(status.RESOURCE_LIMITATION, "the request cannot be written to the disk")
        return Answer(status.SUCCESS)

    def abandon(self) -> None:
        """Nothing is held."""


class ResultSender:
    """Sends the results that are ready for one association. For its thread."""

    def __init__(self, wire: Wire, limits: Limits) -> None:
        self.mailbox = Mailbox()
        self._wire = wire
        self._limits = limits
        self._sent: dict[int, Letter] = {}
        self._message_id = 0

    def tell(self, context: NegotiatedContext | None, peer_max: int) -> None:
        """While results are expected and the peer says nothing, send those that are ready; raises WireError."""
        if context is None:
            return
        deadline = time.monotonic() + self._limits.idle.total_seconds()
        while self.mailbox.is_expecting and time.monotonic() < deadline:
            if self._wire.is_readable(_TICK) or self._wire.is_stopping:
                return
            letter = self.mailbox.take()
            if letter is not None:
                self._send(letter, context, peer_max)

    def _send(self, letter: Letter, context: NegotiatedContext, peer_max: int) -> None:
        self._message_id = self._message_id % 0xFFFF + 1
        self._sent[self._message_id] = letter
        event_type = letter.result.event_type
        command = dimse.event_report_request(self._message_id, COMMITMENT, COMMITMENT_INSTANCE, event_type)
        parts: list[bytes | memoryview] = [pdus.command_pdus(context.id, command, peer_max)]
        data = encode_result(letter.result, context.transfer_syntax)
        for fragment, is_last in pdus.fragments([data], pdus.fragment_size(peer_max)):
            parts += [pdus.p_data_head(context.id, len(fragment), is_command=False, is_last=is_last), fragment]
        self._wire.send([b"".join(parts)], self._limits.transfer, "reporting storage commitment")

    def answered(self, response: CommandSet) -> bool:
        """Take an N-EVENT-REPORT response; false when nothing was reported under its message id."""
        letter = self._sent.pop(response.number(dimse.RESPONDED_TO) or 0, None)
        if letter is None:
            return False
        code = response.number(dimse.STATUS)
        letter.settle(code is not None and status.meaning_of(code).is_stored)
        return True

    def close(self) -> None:
        """The association has ended: what was not acknowledged was not taken."""
        self.mailbox.close()
        for letter in self._sent.values():
            letter.settle(False)
