"""The answer to an association request (PS3.8 7.1, 9.3; PS3.4 B.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from hermes_common.dicom.associate import AssociateRequest, ContextResult, NegotiatedContext, ProposedContext
from hermes_common.dicom.pdu import RejectResult, RejectSource
from hermes_common.dicom.uids import (
    APPLICATION_CONTEXT,
    VERIFICATION,
    is_standard_transfer_syntax,
    is_storage_class,
)

Judge: TypeAlias = Callable[[str, str, str], str | None]
"""Calling AE title, called AE title, address -> why this sender is refused, or None."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The association stands; every proposed context has an answer, in the order of the request."""

    contexts: tuple[NegotiatedContext, ...]

    @property
    def accepted(self) -> dict[int, NegotiatedContext]:
        """The usable contexts by their id."""
        return {c.id: c for c in self.contexts if c.result is ContextResult.ACCEPTED}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A-ASSOCIATE-RJ with its three codes (PS3.8 table 9-21) and the reason for our own people."""

    result: RejectResult
    source: RejectSource
    reason: int
    words: str


Answer: TypeAlias = Acceptance | Rejection


def over_limit(words: str) -> Rejection:
    """Return the transient rejection 'local limit exceeded': the sender may try again."""
    return Rejection(RejectResult.TRANSIENT, RejectSource.PRESENTATION, 2, words)


def answer(request: AssociateRequest, address: str, judge: Judge) -> Answer:
    """Decide about an association request from ``address``; limits on numbers are decided elsewhere."""
    if not request.protocol_version & 1:
        return Rejection(RejectResult.PERMANENT, RejectSource.ACSE, 2, "protocol version not supported")
    if request.application_context != APPLICATION_CONTEXT:
        return Rejection(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 2, "application context name not supported")
    refusal = judge(request.calling_aet, request.called_aet, address)
    if refusal is not None:
        return Rejection(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 3, refusal)
    return Acceptance(tuple(_context(context) for context in request.contexts))


def _context(proposed: ProposedContext) -> NegotiatedContext:
    """Take storage (private and unknown classes too) and verification; the sender's first standard transfer syntax
    wins.
    """
    number, abstract = proposed.id, proposed.abstract_syntax
    if abstract != VERIFICATION and not is_storage_class(abstract):
        return NegotiatedContext(number, abstract, "", ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    syntax = next(filter(is_standard_transfer_syntax, proposed.transfer_syntaxes), None)
    if syntax is None:
        return NegotiatedContext(number, abstract, "", ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return NegotiatedContext(number, abstract, syntax, ContextResult.ACCEPTED)
