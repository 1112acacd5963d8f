"""The requestor of storage commitment: N-ACTION, and the N-EVENT-REPORT that may come on the same association
(PS3.4 J.3.2, J.3.3).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hermes_common.dicom import command as dimse
from hermes_common.dicom import pdu as pdus
from hermes_common.dicom import status
from hermes_common.dicom.command import CommandField, CommandSet
from hermes_common.dicom.commitment import (
    MAX_REQUEST_LENGTH,
    REQUEST_COMMITMENT,
    CommitmentRequest,
    CommitmentResult,
    InvalidCommitmentResult,
    encode_request,
    parse_result,
)
from hermes_common.dicom.pdu import PduType
from hermes_common.dicom.status import StatusMeaning, meaning_of
from hermes_common.dicom.uids import COMMITMENT, COMMITMENT_INSTANCE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hermes_common.runtime.dicom.errors import Aborted, ContextRefused, PeerSilent, ProtocolViolation
from hermes_common.runtime.dicom.requestor import _ESTABLISHED, StorageAssociation, _Guard

SYNTAXES: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
CONTEXTS: Final = tuple((COMMITMENT, syntax) for syntax in SYNTAXES)

Take = Callable[[CommitmentResult], int]
"""Makes a result durable and returns the status to answer it with; for the thread of the association."""


@dataclass(frozen=True, slots=True)
class _Message:
    context: int
    command: CommandSet
    data: bytes


class CommitmentAssociation(StorageAssociation):
    """One association with a storage commitment SCP, negotiated with :data:`CONTEXTS`."""

    def n_action(self, request: CommitmentRequest, take: Take) -> StatusMeaning:
        """Ask, and return the peer's status; a result that comes before it is taken.

        Raises :class:`ContextRefused` or an :class:`AssociationError`: then nobody knows whether it was asked.
        """
        syntax = next((syntax for syntax in SYNTAXES if (COMMITMENT, syntax) in self._ids), None)
        if syntax is None:
            raise ContextRefused(COMMITMENT, ", ".join(SYNTAXES), self._refusal(COMMITMENT))
        context = self._ids[COMMITMENT, syntax]
        number = self._next_message()
        command = dimse.action_request(number, COMMITMENT, COMMITMENT_INSTANCE, REQUEST_COMMITMENT)
        step = "asking for storage commitment (N-ACTION)"
        with _Guard(self, step, self._timeouts.send):
            self._wire.send([pdus.command_pdus(context, command, self._max_length)], self._timeouts.send, step)
            for fragment, last in pdus.fragments([encode_request(request, syntax)], self._size):
                head = pdus.p_data_head(context, len(fragment), is_command=False, is_last=last)
                self._wire.send([head, fragment], self._timeouts.send, step)
        with _Guard(self, step, self._timeouts.response):
            deadline = time.monotonic() + self._timeouts.response.total_seconds()
            while time.monotonic() < deadline:
                message = self._read_message(self._timeouts.response, step)
                if message.command.field == CommandField.N_EVENT_REPORT_RQ:
                    self._report(message, take)
                    continue
                code = message.command.number(dimse.STATUS)
                answers = message.command.number(dimse.RESPONDED_TO) == number
                if message.command.field != CommandField.N_ACTION_RSP or not answers or code is None:
                    raise ProtocolViolation("its answer belongs to another message", step)
                return meaning_of(code)
            raise PeerSilent(step, self._timeouts.response.total_seconds())

    def wait(self, stay: timedelta, take: Take) -> None:
        """Take the result if it comes within ``stay``. Raises an :class:`AssociationError`."""
        step = "waiting for the storage commitment result"
        if not self._wire.is_readable(stay):
            return
        with _Guard(self, step, self._timeouts.send):
            message = self._read_message(self._timeouts.send, step)
            if message.command.field != CommandField.N_EVENT_REPORT_RQ:
                raise ProtocolViolation("it sent something else than a result", step)
            self._report(message, take)

    def _report(self, message: _Message, take: Take) -> None:
        code = report_refusal(message.command)
        if code is None:
            syntax = next(s for s in SYNTAXES if self._ids.get((COMMITMENT, s)) == message.context)
            try:
                code = take(parse_result(message.data, syntax))
            except InvalidCommitmentResult:
                code = status.INVALID_ARGUMENT
        answer = dimse.response_to(message.command, code)
        pdu = pdus.command_pdus(message.context, answer, self._max_length)
        self._wire.send([pdu], self._timeouts.send, "answering the storage commitment result")

    def _read_message(self, patience: timedelta, step: str) -> _Message:
        command, data = bytearray(), bytearray()
        decoded: CommandSet | None = None
        while True:
            pdu = self._wire.read_pdu(patience, self._timeouts.send, step, allowed=_ESTABLISHED)
            if pdu.kind == PduType.ABORT:
                raise Aborted(pdus.abort_words(pdu.body[2], pdu.body[3]), step, by_peer=True)
            if pdu.kind != PduType.P_DATA:
                raise Aborted("it released the association", step, by_peer=True)
            for pdv in pdus.iter_pdvs(pdu.body):
                if pdv.context_id not in self._ids.values() or pdv.is_command is not (decoded is None):
                    raise ProtocolViolation("its message is out of order", step)
                into, most = (command, dimse.MAX_COMMAND_LENGTH) if pdv.is_command else (data, MAX_REQUEST_LENGTH)
                into += pdv.fragment
                if len(into) > most:
                    raise ProtocolViolation("its message is too long", step)
                if pdv.is_last and pdv.is_command:
                    decoded = dimse.decode_command(bytes(command))
                if pdv.is_last and decoded is not None and (not pdv.is_command or not decoded.has_data_set):
                    return _Message(pdv.context_id, decoded, bytes(data))


def report_refusal(command: CommandSet) -> int | None:
    """Return the status that refuses an N-EVENT-REPORT before its data set is looked at, or None (PS3.7 10.1.1.1.8)."""
    if command.text(dimse.AFFECTED_SOP_CLASS) != COMMITMENT:
        return status.SOP_CLASS_NOT_SUPPORTED
    if command.text(dimse.AFFECTED_SOP_INSTANCE) != COMMITMENT_INSTANCE:
        return status.NO_SUCH_INSTANCE
    if command.number(dimse.EVENT_TYPE) not in (1, 2):
        return status.NO_SUCH_EVENT
    return None if command.has_data_set else status.INVALID_ARGUMENT
