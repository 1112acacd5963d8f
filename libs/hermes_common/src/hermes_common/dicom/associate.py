"""A-ASSOCIATE request and accept as values; pynetdicom's PDU types do the encoding (PS3.8 9.3.2, 9.3.3; PS3.7 D.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext

from hermes_common.dicom.errors import MalformedPdu
from hermes_common.dicom.extended import Proposal, Reply, split_request, with_reply
from hermes_common.dicom.pdu import DEFAULT_MAX_LENGTH
from hermes_common.dicom.uids import (
    APPLICATION_CONTEXT,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    IMPLICIT_LITTLE,
    VERIFICATION,
)

MAX_CONTEXTS: Final = 128
"""Presentation contexts in one association: the odd ids 1 to 255 (PS3.8 9.3.2.2)."""

_AE_TITLES = slice(10, 42)  # both AE titles in a whole PDU; read here, since any 16 bytes occur in practice


class ContextResult(IntEnum):
    """Result of one presentation context (PS3.8 table 9-18)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context of a request: what is to be transferred, and the encodings on offer in the sender's
    order.
    """

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NegotiatedContext:
    """The answer to one proposed context; ``transfer_syntax`` means something only when accepted."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    result: ContextResult


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ. AE titles are stripped of spaces; ``max_length`` 0 is unlimited; bytes beyond ASCII pass as
    Latin-1.
    """

    calling_aet: str
    called_aet: str
    contexts: tuple[ProposedContext, ...]
    max_length: int
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    implementation_class_uid: str = ""
    implementation_version: str = ""
    proposal: Proposal = field(default_factory=Proposal)
    """Roles, operations window, extended negotiation, user identity."""


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """An A-ASSOCIATE-AC: the answer to each context (abstract syntaxes are not repeated on the wire) and the peer's
    limit.
    """

    contexts: tuple[NegotiatedContext, ...]
    max_length: int
    implementation_class_uid: str = ""
    implementation_version: str = ""


def decode_request(pdu: bytes) -> AssociateRequest:
    """Decode a whole A-ASSOCIATE-RQ, header included; raises :class:`MalformedPdu` for whatever is wrong with it."""
    titles = pdu[_AE_TITLES]
    item: Any = A_ASSOCIATE_RQ()
    proposal, plain = split_request(pdu)
    _decode(item, plain[:10] + b"HERMES".ljust(16) * 2 + plain[42:], "A-ASSOCIATE-RQ", len(titles))
    try:
        contexts = tuple(
            ProposedContext(
                int(context.presentation_context_id),
                str(context.abstract_syntax or ""),
                tuple(str(syntax) for syntax in context.transfer_syntax),
            )
            for context in item.presentation_context
        )
        ids = [context.id for context in contexts]
        if len(set(ids)) != len(ids) or any(number % 2 == 0 for number in ids):
            raise MalformedPdu("the A-ASSOCIATE-RQ repeats presentation context ids or has even ones")
        user = item.user_information
        return AssociateRequest(
            calling_aet=_aet(titles[16:]),
            called_aet=_aet(titles[:16]),
            contexts=contexts,
            max_length=_max_length(user),
            application_context=str(item.application_context_name or ""),
            protocol_version=int(item.protocol_version),
            implementation_class_uid=_implementation_uid(user),
            implementation_version=_implementation_version(user),
            proposal=proposal,
        )
    except (AttributeError, TypeError, ValueError) as exc:
        raise MalformedPdu(f"the A-ASSOCIATE-RQ lacks an item ({exc})") from exc


def decode_accept(pdu: bytes, proposed: Iterable[ProposedContext]) -> AssociateAccept:
    """Decode a whole A-ASSOCIATE-AC; contexts that were not proposed are dropped, proposed ones without an answer are
    refused.
    """
    item: Any = A_ASSOCIATE_AC()
    _decode(item, pdu[:10] + b"HERMES".ljust(16) * 2 + pdu[42:], "A-ASSOCIATE-AC", len(pdu[_AE_TITLES]))
    try:
        answers = {int(c.presentation_context_id): c for c in item.presentation_context}
        contexts = tuple(_answer(context, answers.get(context.id)) for context in proposed)
        user = item.user_information
        return AssociateAccept(contexts, _max_length(user), _implementation_uid(user), _implementation_version(user))
    except (AttributeError, TypeError, ValueError, IndexError) as exc:
        raise MalformedPdu(f"the A-ASSOCIATE-AC lacks an item ({exc})") from exc


def encode_request(
    calling_aet: str, called_aet: str, contexts: Sequence[ProposedContext], max_length: int = DEFAULT_MAX_LENGTH
) -> bytes:
    """Encode an A-ASSOCIATE-RQ; at most :data:`MAX_CONTEXTS` contexts, AE titles of 1 to 16 ASCII characters
    (ValueError).
    """
    if len(contexts) > MAX_CONTEXTS:
        raise ValueError(f"{len(contexts)} presentation contexts, {MAX_CONTEXTS} fit one association")
    primitive = _primitive(calling_aet, called_aet, max_length)
    primitive.presentation_context_definition_list = [
        _context(c.id, c.abstract_syntax, c.transfer_syntaxes, None) for c in contexts
    ]
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def encode_accept(
    request: AssociateRequest, contexts: Iterable[NegotiatedContext], max_length: int, reply: Reply | None = None
) -> bytes:
    """Encode the A-ASSOCIATE-AC that answers ``request``; its AE titles are the request's, byte for byte as far as
    Latin-1 goes. ``reply`` answers what was proposed besides contexts.
    """
    primitive = _primitive("HERMES", "HERMES", max_length)
    primitive.result = 0
    primitive.presentation_context_definition_results_list = [
        _context(
            c.id, VERIFICATION, (c.transfer_syntax or IMPLICIT_LITTLE,), c.result
        )  # the abstract syntax is not sent
        for c in contexts
    ]
    pdu = bytes(A_ASSOCIATE_AC(primitive).encode())
    titles = "".join(title[:16].ljust(16) for title in (request.called_aet, request.calling_aet)).encode("latin-1")
    return with_reply(pdu[:10] + titles + pdu[42:], reply if reply is not None else Reply())


def _aet(raw: bytes) -> str:
    return raw.decode("latin-1").replace("\0", "").strip(" ")


def _decode(item: Any, pdu: bytes, name: str, titles: int) -> None:
    if titles != 32:
        raise MalformedPdu(f"the {name} is too short")
    try:
        item.decode(pdu)
    except Exception as exc:  # the decoder raises whatever hostile bytes provoke; each such case is one outcome
        raise MalformedPdu(f"the {name} cannot be decoded ({type(exc).__name__})") from exc


def _primitive(calling_aet: str, called_aet: str, max_length: int) -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = calling_aet
    primitive.called_ae_title = called_aet
    length = MaximumLengthNotification()
    length.maximum_length_received = max_length
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION
    primitive.user_information = [length, implementation, version]
    return primitive


def _context(number: int, abstract: str, transfers: Iterable[str], result: int | None) -> PresentationContext:
    context = PresentationContext()
    context.context_id = number
    context.abstract_syntax = abstract
    context.transfer_syntax = list(transfers)
    if result is not None:
        context.result = result
    return context


def _answer(proposed: ProposedContext, item: Any) -> NegotiatedContext:
    if item is None:
        return NegotiatedContext(proposed.id, proposed.abstract_syntax, "", ContextResult.NO_REASON)
    result = ContextResult(item.result) if item.result in range(5) else ContextResult.NO_REASON
    syntax = str(item.transfer_syntax or "")
    if result is ContextResult.ACCEPTED and syntax not in proposed.transfer_syntaxes:
        result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    return NegotiatedContext(proposed.id, proposed.abstract_syntax, syntax, result)


def _max_length(user: Any) -> int:
    return int(user.maximum_length or 0) if user is not None else 0


def _implementation_uid(user: Any) -> str:
    return str(user.implementation_class_uid or "") if user is not None else ""


def _implementation_version(user: Any) -> str:
    return str(user.implementation_version_name or "") if user is not None else ""
