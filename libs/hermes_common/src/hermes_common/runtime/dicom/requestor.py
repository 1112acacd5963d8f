"""The requestor (SCU) of storage associations: blocking, raw bytes, every step with a time limit (PS3.8 7, PS3.7 9.1,
PS3.4 B).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from hermes_common.dicom import command as dimse
from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import (
    AssociateAccept,
    ContextResult,
    ProposedContext,
    decode_accept,
    encode_request,
)
from hermes_common.dicom.errors import DicomError, MalformedPdu
from hermes_common.dicom.extended import Reply, Roles, with_reply
from hermes_common.dicom.pdu import AbortSource, PduType
from hermes_common.dicom.status import StatusMeaning, meaning_of
from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.dicom.connect import connect
from hermes_common.runtime.dicom.errors import (
    Aborted,
    AssociationError,
    AssociationRejected,
    ContextRefused,
    PeerSilent,
    ProtocolViolation,
)
from hermes_common.runtime.dicom.plan import Context, FileSource, Source, Timeouts, chunks, plan_associations
from hermes_common.runtime.dicom.wire import Pdu, Wire, WireClosed, WireError, WireTimeout

_ANSWERS: Final = frozenset({PduType.ASSOCIATE_AC, PduType.ASSOCIATE_RJ, PduType.ABORT})
_ESTABLISHED: Final = frozenset({PduType.P_DATA, PduType.RELEASE_RQ, PduType.RELEASE_RP, PduType.ABORT})


@dataclass(frozen=True, slots=True)
class StoreResult:
    """The peer's answer to one C-STORE: ``meaning.is_stored`` is the only thing that counts as delivered."""

    status: int
    meaning: StatusMeaning
    comment: str
    """Error Comment (0000,0902), as the peer wrote it."""


class StorageAssociation:
    """One association with a storage peer. For one thread; a context manager: releases, or aborts after an error."""

    def __init__(self, wire: Wire, accepted: AssociateAccept, timeouts: Timeouts, max_send: int | None = None) -> None:
        self._wire = wire
        self._timeouts = timeouts
        self._ids = {
            (c.abstract_syntax, c.transfer_syntax): c.id
            for c in accepted.contexts
            if c.result is ContextResult.ACCEPTED
        }
        self._results = {c.abstract_syntax: c.result for c in accepted.contexts}
        self._max_length = min(filter(None, (accepted.max_length, max_send)), default=0)
        self._size = pdus.fragment_size(self._max_length)
        self._message_id = 0
        self._open = True
        self.peer = accepted

    @classmethod
    def negotiate(
        cls,
        calling_aet: str,
        called_aet: str,
        host: str,
        port: int,
        contexts: Sequence[Context],
        *,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        max_send: int | None = None,
        sock: socket.socket | None = None,
        roles: Sequence[Roles] = (),
    ) -> Self:
        """Connect and associate, proposing each of ``contexts`` (at most 128, ValueError) as a context of its own.

        ``max_send`` are the octets of a PDU that are sent at most, where the peer takes more. ``sock`` is a connection
        that was made already; it is closed with the association. ``roles`` are proposed beside the contexts, where they
        are not those of an SCU (PS3.7 D.3.3.4).

        Refused contexts are no error here: :meth:`accepts` and :meth:`c_store` tell. Raises :class:`Unreachable`,
        :class:`AssociationRejected`, :class:`Aborted`, :class:`PeerSilent` or :class:`ProtocolViolation`.
        """
        limits = timeouts if timeouts is not None else Timeouts()
        proposed = [
            ProposedContext(2 * n + 1, sop, (syntax,)) for n, (sop, syntax) in enumerate(dict.fromkeys(contexts))
        ]
        request = with_reply(encode_request(calling_aet, called_aet, proposed), Reply(roles=tuple(roles)))
        connection = connect(host, port, limits.connect, tls) if sock is None else sock
        wire = Wire(connection, max_length=pdus.DEFAULT_MAX_LENGTH)
        try:
            accepted = _associate(wire, request, proposed, limits, calling_aet, called_aet)
        except BaseException:
            wire.close()
            raise
        return cls(wire, accepted, limits, max_send)

    def accepts(self, sop_class: str, transfer_syntax: str) -> bool:
        """Whether the peer takes instances of ``sop_class`` in ``transfer_syntax`` on this association."""
        return (sop_class, transfer_syntax) in self._ids

    @property
    def is_usable(self) -> bool:
        """False once released, aborted, or after any :class:`AssociationError`."""
        return self._open

    def c_echo(self) -> StatusMeaning:
        """Verify the peer (PS3.4 A); needs a context (:data:`VERIFICATION`, any syntax), else
        :class:`ContextRefused`.
        """
        context = next((number for (sop, _), number in self._ids.items() if sop == VERIFICATION), None)
        if context is None:
            raise ContextRefused(VERIFICATION, IMPLICIT_LITTLE, self._refusal(VERIFICATION))
        message = self._next_message()
        step = "verifying (C-ECHO)"
        with _Guard(self, step, self._timeouts.send):
            self._wire.send(
                [pdus.command_pdus(context, dimse.echo_request(message), self._max_length)], self._timeouts.send, step
            )
        return self._response(message, dimse.CommandField.C_ECHO_RSP, step).meaning

    def c_store(
        self,
        sop_class: str,
        sop_instance: str,
        transfer_syntax: str,
        source: Source,
        *,
        move_originator: tuple[str, int] | None = None,
    ) -> StoreResult:
        """Send one instance and return the peer's status, whatever it is.

        Raises :class:`ContextRefused` (nothing was sent, go on with the next instance) or an
        :class:`AssociationError` (the outcome
        is unknown). An OSError of ``source`` passes through after the association has been aborted.
        """
        context = self._ids.get((sop_class, transfer_syntax))
        if context is None:
            raise ContextRefused(sop_class, transfer_syntax, self._refusal(sop_class))
        message = self._next_message()
        request = dimse.store_request(message, sop_class, sop_instance, move_originator=move_originator)
        step = f"sending {sop_instance}"
        with _Guard(self, step, self._timeouts.send):
            ahead: list[bytes | memoryview] = [pdus.command_pdus(context, request, self._max_length)]
            if isinstance(source, bytes | memoryview):
                ahead += pdus.data_pdus(context, source, self._size)
                self._wire.send_long(ahead, self._timeouts.send, step, self._size)
            else:
                self._send_chunks(context, ahead, source, step)
        return self._response(message, dimse.CommandField.C_STORE_RSP, f"waiting for the answer to {sop_instance}")

    def _send_chunks(self, context: int, ahead: list[bytes | memoryview], source: Source, step: str) -> None:
        """Send a data set that is not in memory as a whole, PDU by PDU."""
        for fragment, last in pdus.fragments(chunks(source, self._size), self._size):
            head = pdus.p_data_head(context, len(fragment), is_command=False, is_last=last)
            self._wire.send([*ahead, head, fragment], self._timeouts.send, step)
            ahead = []

    def n_event_report(
        self, sop_class: str, sop_instance: str, event_type: int, data: Mapping[str, bytes]
    ) -> StoreResult:
        """Report an event and return the peer's status (PS3.7 10.1.1).

        ``data`` is the data set by transfer syntax: the one that was accepted is sent. Raises
        :class:`ContextRefused` or an :class:`AssociationError`.
        """
        syntax = next((syntax for syntax in data if (sop_class, syntax) in self._ids), None)
        if syntax is None:
            raise ContextRefused(sop_class, ", ".join(data), self._refusal(sop_class))
        context = self._ids[sop_class, syntax]
        message = self._next_message()
        command = dimse.event_report_request(message, sop_class, sop_instance, event_type)
        step = "reporting an event (N-EVENT-REPORT)"
        with _Guard(self, step, self._timeouts.send):
            self._wire.send([pdus.command_pdus(context, command, self._max_length)], self._timeouts.send, step)
            for fragment, last in pdus.fragments([data[syntax]], self._size):
                head = pdus.p_data_head(context, len(fragment), is_command=False, is_last=last)
                self._wire.send([head, fragment], self._timeouts.send, step)
        return self._response(message, dimse.CommandField.N_EVENT_REPORT_RSP, step)

    def release(self) -> None:
        """End in order; a peer that does not answer within the time limit is left, without an error."""
        if not self._open:
            return
        self._open = False
        limit = self._timeouts.release
        try:
            self._wire.send([pdus.release_request()], limit, "releasing")
            while self._wire.read_pdu(limit, limit, "releasing", allowed=_ESTABLISHED).kind == PduType.P_DATA:
                pass
        except (WireError, MalformedPdu):
            pass  # everything was answered before: a bad farewell changes nothing
        finally:
            self._wire.close()

    def abort(self) -> None:
        """Break off now (A-ABORT by the user) and close; never raises."""
        if self._open:
            with suppress(WireError):
                self._wire.send([pdus.abort(AbortSource.SERVICE_USER)], timedelta(seconds=1), "aborting")
        self._open = False
        self._wire.close()

    def kill(self) -> None:
        """Break the connection from another thread; a step under way ends with :class:`Aborted`."""
        self._wire.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def _next_message(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _refusal(self, sop_class: str) -> str:
        result = self._results.get(sop_class)
        return "it was not proposed" if result is None else result.name.lower().replace("_", " ")

    def _response(self, message: int, expected: int, step: str) -> StoreResult:
        """Read the response to ``message``; a response to another message is a violation, never taken for ours."""
        with _Guard(self, step, self._timeouts.response):
            answer = dimse.decode_command(self._read_command(step))
            status = answer.number(dimse.STATUS)
            if answer.field != expected or answer.number(dimse.RESPONDED_TO) != message or status is None:
                raise ProtocolViolation("its answer belongs to another message", step)
            return StoreResult(status, meaning_of(status), answer.text(dimse.ERROR_COMMENT)[:64])

    def _read_command(self, step: str) -> bytes:
        received = bytearray()
        while True:
            pdu = self._wire.read_pdu(self._timeouts.response, self._timeouts.send, step, allowed=_ESTABLISHED)
            if pdu.kind == PduType.ABORT:
                raise Aborted(pdus.abort_words(pdu.body[2], pdu.body[3]), step, by_peer=True)
            if pdu.kind != PduType.P_DATA:
                raise Aborted("it released the association without answering", step, by_peer=True)
            for pdv in pdus.iter_pdvs(pdu.body):
                received += pdv.fragment
                if not pdv.is_command or len(received) > dimse.MAX_COMMAND_LENGTH:
                    raise ProtocolViolation("its answer is no command set", step)
                if pdv.is_last:
                    return bytes(received)

    def _last_words(self, step: str) -> AssociationError | None:
        """After a failed write: the A-ABORT that the peer may have sent before closing says more than 'broken pipe'."""
        try:
            pdu = self._wire.read_pdu(timedelta(0), timedelta(seconds=1), step, allowed=frozenset({PduType.ABORT}))
        except (WireError, MalformedPdu):
            return None
        return Aborted(pdus.abort_words(pdu.body[2], pdu.body[3]), step, by_peer=True)


@dataclass(slots=True)
class _Guard:
    """Translates what the wire raises into the error tree, and ends the association on the way out."""

    association: StorageAssociation
    step: str
    limit: timedelta

    def __enter__(self) -> None:
        if not self.association.is_usable:
            raise Aborted("the association has ended already", self.step, by_peer=False)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is None:
            return
        words = self.association._last_words(self.step) if isinstance(exc, WireClosed) else None
        self.association.abort()
        if isinstance(exc, WireError | DicomError):
            raise (words or _translated(exc, self.step, self.limit)) from exc


def _translated(exc: WireError | DicomError, step: str, limit: timedelta) -> AssociationError:
    match exc:
        case WireTimeout():
            return PeerSilent(step, limit.total_seconds())
        case WireClosed():
            return Aborted(exc.reason, step, by_peer=False)
        case _:
            return ProtocolViolation(str(exc), step)


def _associate(
    wire: Wire, request: bytes, proposed: Sequence[ProposedContext], limits: Timeouts, calling: str, called: str
) -> AssociateAccept:
    step = "requesting an association"
    try:
        wire.send([request], limits.send, step)
        answer: Pdu = wire.read_pdu(limits.associate, limits.associate, step, allowed=_ANSWERS)
        if answer.kind == PduType.ASSOCIATE_RJ:
            raise AssociationRejected(answer.body[1], answer.body[2], answer.body[3], calling, called)
        if answer.kind == PduType.ABORT:
            raise Aborted(pdus.abort_words(answer.body[2], answer.body[3]), step, by_peer=True)
        return decode_accept(bytes(answer.whole), proposed)
    except (WireError, DicomError) as exc:
        raise _translated(exc, step, limits.associate) from exc


__all__ = [
    "Context",
    "FileSource",
    "Source",
    "StorageAssociation",
    "StoreResult",
    "Timeouts",
    "plan_associations",
]
