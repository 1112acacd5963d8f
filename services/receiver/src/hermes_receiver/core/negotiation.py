"""The answer to an association request (PS3.8 7.1, 9.3; PS3.7 D.3.3; PS3.4 B.3, B.5, F.7, J.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from hermes_common.dicom.associate import AssociateRequest, ContextResult, NegotiatedContext, ProposedContext
from hermes_common.dicom.extended import IdentityKind, Reply, Roles, ServiceInformation, UserIdentity
from hermes_common.dicom.pdu import RejectResult, RejectSource
from hermes_common.dicom.uids import (
    APPLICATION_CONTEXT,
    COMMITMENT,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    MPPS,
    STORAGE_SERVICE,
    VERIFICATION,
    is_storage_class,
)
from hermes_common.sources import Admission, Caller, Identity, Judgement, Refusal, Why
from hermes_receiver.core.contexts import choose_syntaxes

Judge: TypeAlias = Callable[[Caller], Judgement]

ONE_AT_A_TIME: Final = (1, 1)
"""Operations invoked and performed at once (PS3.7 D.3.3.3)."""

STORAGE_INFORMATION: Final = bytes((2, 0, 3, 0, 0, 0))
"""Level 2 (full) storage, signature level 3 (bit preserving), no element is coerced (PS3.4 table B.3-2)."""

_MESSAGES: Final = frozenset({COMMITMENT, MPPS})
"""What is read and written by ourselves, and is not stored as it comes."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The association stands; every proposed context has an answer, in the order of the request."""

    contexts: tuple[NegotiatedContext, ...]
    reply: Reply
    user: str = ""
    """Name of the user whose identity was verified."""

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
    identity = request.proposal.identity
    judgement = judge(Caller(request.calling_aet, request.called_aet, address, _identity(identity)))
    if isinstance(judgement, Refusal):
        return Rejection(RejectResult.PERMANENT, RejectSource.SERVICE_USER, _reason(judgement.why), judgement.words)
    contexts = _contexts(request, takes_steps=judgement.mpps)
    return Acceptance(contexts, _reply(request, contexts, judgement), judgement.user)


def _reason(why: Why) -> int:
    """Return the reason code of an A-ASSOCIATE-RJ; there is none for a user identity (PS3.7 D.3.3.7.3)."""
    match why:
        case Why.CALLING:
            return 3
        case Why.CALLED:
            return 7
        case Why.IDENTITY:
            return 1
        case _:
            assert_never(why)


def _identity(given: UserIdentity | None) -> Identity | None:
    if given is None:
        return None
    if given.kind not in (IdentityKind.USERNAME, IdentityKind.USERNAME_AND_PASSCODE):
        return Identity(given.words)
    passcode = given.secondary if given.kind == IdentityKind.USERNAME_AND_PASSCODE else None
    return Identity(given.words, given.primary.decode("utf-8", "replace"), passcode)


def _contexts(request: AssociateRequest, *, takes_steps: bool) -> tuple[NegotiatedContext, ...]:
    """Take storage (private and unknown classes too), verification, storage commitment, and performed procedure steps
    where the sender's are taken.
    """
    elsewhere = {
        entry.sop_class for entry in request.proposal.common if entry.service_class not in ("", STORAGE_SERVICE)
    }
    backwards = {role.sop_class for role in request.proposal.roles if role.scp and not role.scu}
    syntaxes = choose_syntaxes(c for c in request.contexts if c.abstract_syntax not in _MESSAGES)
    syntaxes |= {c.id: _plain(c) for c in request.contexts if c.abstract_syntax in _MESSAGES and _plain(c)}
    answers = []
    for context in request.contexts:
        number, abstract = context.id, context.abstract_syntax
        if not _is_served(abstract, elsewhere) or (abstract == MPPS and not takes_steps):
            result = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
        elif abstract in backwards and abstract != COMMITMENT:
            result = (
                ContextResult.USER_REJECTION
            )  # it would have us be the SCU, which we are of storage commitment alone
        elif number not in syntaxes:
            result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
        else:
            answers.append(NegotiatedContext(number, abstract, syntaxes[number], ContextResult.ACCEPTED))
            continue
        answers.append(NegotiatedContext(number, abstract, "", result))
    return tuple(answers)


def _plain(context: ProposedContext) -> str:
    """Return a syntax for messages that we read and write ourselves; empty if none is offered."""
    return next((s for s in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if s in context.transfer_syntaxes), "")


def _is_served(abstract: str, elsewhere: Iterable[str]) -> bool:
    if abstract in (VERIFICATION, COMMITMENT, MPPS):
        return True
    return abstract not in elsewhere and is_storage_class(abstract)


def _reply(request: AssociateRequest, contexts: tuple[NegotiatedContext, ...], admission: Admission) -> Reply:
    """Answer what was proposed besides contexts, and nothing that was not (PS3.7 D.3.3)."""
    proposal = request.proposal
    accepted = {c.abstract_syntax for c in contexts if c.result is ContextResult.ACCEPTED}
    wants_response = proposal.identity is not None and proposal.identity.wants_response
    return Reply(
        window=ONE_AT_A_TIME if proposal.window is not None else None,
        roles=tuple(
            Roles(role.sop_class, scu=role.scu, scp=role.scp and role.sop_class == COMMITMENT)
            for role in proposal.roles
            if role.sop_class in accepted
        ),
        information=tuple(
            ServiceInformation(entry.sop_class, STORAGE_INFORMATION)
            for entry in proposal.information
            if entry.sop_class in accepted and entry.sop_class not in (VERIFICATION, COMMITMENT, MPPS)
        ),
        identity_response=b"" if admission.user and wants_response else None,
    )
