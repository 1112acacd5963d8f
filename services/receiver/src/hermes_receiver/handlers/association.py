"""One association, from the connection to its end (PS3.8 7, 9.2; PS3.7 8)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hermes_common.dicom import command as dimse
from hermes_common.dicom import pdu as pdus
from hermes_common.dicom import status as dimse_status
from hermes_common.dicom.associate import AssociateRequest, NegotiatedContext, decode_request, encode_accept
from hermes_common.dicom.command import CommandField, CommandSet
from hermes_common.dicom.errors import DicomError, MalformedPdu
from hermes_common.dicom.pdu import AbortReason, AbortSource, PduType, Pdv, RejectResult
from hermes_common.dicom.uids import COMMITMENT, MPPS, VERIFICATION
from hermes_common.events import AssociationAborted, AssociationClosed, AssociationOpened, AssociationRejected
from hermes_common.runtime.dicom.commitment import report_refusal
from hermes_common.runtime.dicom.wire import Wire, WireClosed, WireError, WireStopping, WireTimeout
from hermes_receiver.adapters import metrics
from hermes_receiver.core.limits import Limits
from hermes_receiver.core.negotiation import Acceptance, Judge, Rejection, answer
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers import performing
from hermes_receiver.handlers.commitment_messages import CommitmentInbox, ResultSender, refusal_of
from hermes_receiver.handlers.commitment_results import ResultInbox, TakeResult
from hermes_receiver.handlers.committing import Commitments
from hermes_receiver.handlers.messages import Current, Drain, PeerAbortedError, Sink, ViolationError
from hermes_receiver.handlers.ports import Announcer
from hermes_receiver.handlers.storing import Answer, EndlessDataSetError, Reception, Store

log = logging.getLogger(__name__)

_OPENING = frozenset({PduType.ASSOCIATE_RQ})
_ESTABLISHED = frozenset({PduType.P_DATA, PduType.RELEASE_RQ, PduType.RELEASE_RP, PduType.ABORT})

Admit = Callable[[], Rejection | None]
"""Counts an association in, or says why there is no room for it."""


class AssociationHandler:
    """Serves one connection. Everything that the peer may do ends in an event and a closed socket, never in an
    exception.
    """

    def __init__(
        self,
        wire: Wire,
        origin: Origin,
        store: Store,
        announcer: Announcer,
        judge: Judge,
        admit: Admit,
        commitments: Commitments | None = None,
        take_result: TakeResult | None = None,
        steps: performing.Steps | None = None,
    ) -> None:
        self._wire = wire
        self._origin = origin
        self._store = store
        self._announcer = announcer
        self._judge = judge
        self._admit = admit
        self._limits: Limits = store.limits
        self._commitments = commitments
        self._take_result = take_result
        self._steps = steps
        self._results = ResultSender(wire, store.limits)
        self._contexts: dict[int, NegotiatedContext] = {}
        self._peer_max = 0
        self._said = ""
        self._command = bytearray()
        self._command_context = 0
        self._current: Current | None = None
        self._stored = self._refused = self._octets = 0
        self._started = time.monotonic()

    def run(self) -> None:
        """Serve until the association ends, then close."""
        try:
            if self._open():
                self._serve()
        finally:
            self._results.close()
            self._wire.close(self._limits.farewell)

    # -- opening

    def _open(self) -> bool:
        """Negotiate; false when there is no association after all."""
        try:
            pdu = self._wire.read_pdu(
                self._limits.request, self._limits.request, "waiting for a request", allowed=_OPENING, idle=True
            )
            request = decode_request(bytes(pdu.whole))
        except WireError as exc:
            log.debug("connection from %s without association: %s", self._origin.host, exc)
            return False
        except MalformedPdu as exc:
            log.warning("connection from %s: %s", self._origin.host, exc.reason)
            self._send_abort(AbortReason.INVALID_PARAMETER)
            return False
        self._origin = replace(self._origin, calling_aet=request.calling_aet, called_aet=request.called_aet)
        outcome = answer(request, self._origin.host, self._judge)
        if isinstance(outcome, Acceptance):
            full = self._admit()
            outcome = full if full is not None else outcome
        if isinstance(outcome, Rejection):
            self._reject(outcome)
            return False
        self._origin = replace(self._origin, user=outcome.user)
        self._said = _negotiated(request)
        accept = encode_accept(request, outcome.contexts, self._limits.pdu_length, outcome.reply)
        return self._accept(accept, outcome, request.max_length)

    def _accept(self, pdu: bytes, outcome: Acceptance, peer_max: int) -> bool:
        self._contexts = outcome.accepted
        self._peer_max = peer_max
        self._announcer.say(
            AssociationOpened(
                association_id=self._origin.association_id,
                sender=self._origin.sender(),
                contexts=len(self._contexts),
                tls=self._origin.tls,
                certificate=self._origin.certificate,
                user=self._origin.user,
                implementation=self._said,
            )
        )
        try:
            self._wire.send([pdu], self._limits.transfer, "accepting the association")
        except WireError as exc:
            self._aborted(str(exc))
            return False
        return True

    def _reject(self, rejection: Rejection) -> None:
        metrics.REJECTED.inc()
        log.warning("association of %s rejected: %s", self._origin.host, rejection.words)
        self._announcer.say(
            AssociationRejected(
                association_id=self._origin.association_id,
                sender=self._origin.sender(),
                reason=rejection.words,
                transient=rejection.result is RejectResult.TRANSIENT,
                tls=self._origin.tls,
                certificate=self._origin.certificate,
            )
        )
        with suppress(WireError):
            pdu = pdus.associate_reject(rejection.result, rejection.source, rejection.reason)
            self._wire.send([pdu], self._limits.transfer, "rejecting the association")

    # -- serving

    def _serve(self) -> None:
        try:
            self._converse()
        except (PeerAbortedError, WireClosed) as exc:
            self._aborted(str(exc))
        except WireStopping:
            self._send_abort(AbortReason.NOT_SPECIFIED)
            self._aborted("this receiver is stopping")
        except WireTimeout as exc:
            self._send_abort(AbortReason.NOT_SPECIFIED)
            self._aborted(str(exc))
        except EndlessDataSetError:
            self._send_abort(AbortReason.NOT_SPECIFIED)
            self._aborted("a data set goes on beyond every limit")
        except ViolationError as exc:
            self._send_abort(exc.reason)
            self._aborted(str(exc))
        except DicomError as exc:
            self._send_abort(AbortReason.INVALID_PARAMETER)
            self._aborted(exc.reason)

    def _converse(self) -> None:
        """Take messages until the release. What is unfinished at any other end is dropped before anybody is told of
        that end.
        """
        try:
            while self._step():
                pass
        finally:
            if self._current is not None:
                self._current.sink.abandon()

    def _step(self) -> bool:
        """Read and handle one PDU; false after a release."""
        idle = self._current is None and not self._command
        if idle and self._results.mailbox.is_expecting:
            self._results.tell(self._commitment_context(), self._peer_max)
        pdu = self._wire.read_pdu(
            self._limits.idle, self._limits.transfer, "waiting for data", allowed=_ESTABLISHED, idle=idle
        )
        match pdu.kind:
            case PduType.P_DATA:
                for pdv in pdus.iter_pdvs(pdu.body):
                    self._take(pdv)
                return True
            case PduType.RELEASE_RQ:
                if not idle:
                    raise ViolationError("release in mid-message", AbortReason.UNEXPECTED_PDU)
                self._released()
                return False
            case PduType.ABORT:
                raise PeerAbortedError(pdus.abort_words(pdu.body[2], pdu.body[3]) if len(pdu.body) == 4 else "abort")
            case _:
                raise ViolationError("release response without a request", AbortReason.UNEXPECTED_PDU)

    def _take(self, pdv: Pdv) -> None:
        if pdv.context_id not in self._contexts:
            raise ViolationError(f"data on presentation context {pdv.context_id}, which was not accepted")
        if pdv.is_command:
            self._take_command(pdv)
            return
        current = self._current
        if current is None or current.context_id != pdv.context_id:
            raise ViolationError("data set without a command")
        current.sink.take(pdv.fragment)
        if pdv.is_last:
            outcome = current.sink.finish()
            self._current = None
            if current.command.is_response:
                return
            self._respond(pdv.context_id, current.command, outcome, counts=isinstance(current.sink, Reception))

    def _take_command(self, pdv: Pdv) -> None:
        if self._current is not None or (self._command and self._command_context != pdv.context_id):
            raise ViolationError("a command inside another message")
        self._command += pdv.fragment
        self._command_context = pdv.context_id
        if len(self._command) > dimse.MAX_COMMAND_LENGTH:
            raise ViolationError("an endless command set")
        if pdv.is_last:
            data, self._command = bytes(self._command), bytearray()
            self._dispatch(pdv.context_id, dimse.decode_command(data))

    def _dispatch(self, context_id: int, command: CommandSet) -> None:
        context = self._contexts[context_id]
        match command.field:
            case CommandField.C_ECHO_RQ:
                self._begin(context_id, command, Drain(Answer(dimse_status.SUCCESS), self._limits.pdu_length))
            case CommandField.C_STORE_RQ if context.abstract_syntax in (VERIFICATION, COMMITMENT, MPPS):
                refusal = Answer(dimse_status.SOP_CLASS_NOT_SUPPORTED, "no storage on this context")
                self._begin(context_id, command, Drain(refusal, self._limits.instance_bytes))
            case CommandField.C_STORE_RQ if not command.has_data_set:
                self._begin(context_id, command, Drain(Answer(dimse_status.CANNOT_UNDERSTAND, "no data set"), 0))
            case CommandField.C_STORE_RQ:
                sink = Reception(self._store, self._origin, command, context.transfer_syntax)
                self._begin(context_id, command, sink)
            case CommandField.C_CANCEL_RQ:
                return
            case CommandField.N_ACTION_RQ if context.abstract_syntax == COMMITMENT:
                self._begin(context_id, command, self._commitment_sink(context, command))
            case CommandField.N_EVENT_REPORT_RQ if context.abstract_syntax == COMMITMENT:
                self._begin(context_id, command, self._result_sink(context, command))
            case CommandField.N_CREATE_RQ | CommandField.N_SET_RQ if context.abstract_syntax == MPPS:
                self._begin(context_id, command, self._step_sink(context, command))
            case CommandField.N_EVENT_REPORT_RSP if self._results.answered(command):
                if command.has_data_set:
                    drain = Drain(Answer(dimse_status.SUCCESS), self._limits.pdu_length)
                    self._current = Current(context_id, command, drain)
            case _ if command.is_response:
                raise ViolationError("a response without a request")
            case _:
                words = "C-STORE, C-ECHO, storage commitment and MPPS are served"
                refusal = Answer(dimse_status.UNRECOGNISED_OPERATION, words)
                self._begin(context_id, command, Drain(refusal, self._limits.pdu_length))

    def _begin(self, context_id: int, command: CommandSet, sink: Sink) -> None:
        if command.has_data_set:
            self._current = Current(context_id, command, sink)
        else:
            self._respond(context_id, command, sink.finish(), counts=command.field == CommandField.C_STORE_RQ)

    def _respond(self, context_id: int, command: CommandSet, outcome: Answer, *, counts: bool) -> None:
        if counts:
            self._stored += outcome.stored
            self._refused += not outcome.stored
            self._octets += outcome.octets
        response = dimse.response_to(
            command,
            outcome.status,
            comment=outcome.comment,
            offending=outcome.offending,
            identifiers=outcome.identifiers,
            error_id=outcome.error_id,
        )
        self._wire.send([pdus.command_pdus(context_id, response, self._peer_max)], self._limits.transfer, "answering")

    def _commitment_sink(self, context: NegotiatedContext, command: CommandSet) -> CommitmentInbox | Drain:
        refusal = refusal_of(command)
        if self._commitments is None:
            refusal = Answer(dimse_status.SOP_CLASS_NOT_SUPPORTED, "storage commitment is not served here")
        if refusal is not None or self._commitments is None:
            return Drain(refusal or Answer(dimse_status.PROCESSING_FAILURE), self._limits.instance_bytes)
        return CommitmentInbox(self._commitments, self._origin, self._results.mailbox, context.transfer_syntax)

    def _result_sink(self, context: NegotiatedContext, command: CommandSet) -> ResultInbox | Drain:
        code = report_refusal(command)
        if code is not None or self._take_result is None:
            answer = Answer(dimse_status.SOP_CLASS_NOT_SUPPORTED if code is None else code, "no result is expected")
            return Drain(answer, self._limits.instance_bytes)
        return ResultInbox(self._take_result, self._origin, context.transfer_syntax)

    def _step_sink(self, context: NegotiatedContext, command: CommandSet) -> performing.StepInbox | Drain:
        refusal = performing.refusal_of(command)
        if refusal is not None or self._steps is None:
            answer = Answer(dimse_status.SOP_CLASS_NOT_SUPPORTED, "performed procedure steps are not taken here")
            return Drain(refusal or answer, self._limits.instance_bytes)
        return performing.StepInbox(self._steps, self._origin, command, context.transfer_syntax)

    def _commitment_context(self) -> NegotiatedContext | None:
        return next((c for c in self._contexts.values() if c.abstract_syntax == COMMITMENT), None)

    # -- ending

    def _released(self) -> None:
        with suppress(WireError):
            self._wire.send([pdus.release_response()], self._limits.transfer, "releasing")
        self._announcer.say(
            AssociationClosed(
                association_id=self._origin.association_id,
                sender=self._origin.sender(),
                instances=self._stored,
                refused=self._refused,
                octets=self._octets,
                **self._pace(),
            )
        )

    def _aborted(self, reason: str) -> None:
        metrics.ABORTED.inc()
        log.info("association of %s ended without a release: %s", self._origin.host, reason)
        self._announcer.say(
            AssociationAborted(
                association_id=self._origin.association_id,
                sender=self._origin.sender(),
                instances=self._stored,
                refused=self._refused,
                octets=self._octets,
                **self._pace(),
                reason=reason,
            )
        )

    def _send_abort(self, reason: AbortReason) -> None:
        with suppress(WireError):
            self._wire.send([pdus.abort(AbortSource.SERVICE_PROVIDER, reason)], timedelta(seconds=1), "aborting")

    def _pace(self) -> dict[str, Any]:
        """Return the duration, and what it makes per second."""
        seconds = time.monotonic() - self._started
        return {
            "duration": timedelta(seconds=seconds),
            "instances_per_second": round(self._stored / max(seconds, 0.001), 3),
            "octets_per_second": round(self._octets / max(seconds, 0.001)),
        }


def _negotiated(request: AssociateRequest) -> str:
    """Name the implementation of the peer, as far as it says."""
    return " ".join(filter(None, (request.implementation_version, request.implementation_class_uid)))[:120]
