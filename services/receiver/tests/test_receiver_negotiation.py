"""What an association request is answered with: contexts, roles, windows, extended negotiation, user identity."""

from __future__ import annotations

import logging
import os
import shutil
import struct
import subprocess

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import AE, build_role
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from hermes_common.config import CalledTitle, Source, SourceMode, Sources, SourceUser
from hermes_common.dicom.associate import ContextResult, ProposedContext, decode_request, encode_request
from hermes_common.dicom.extended import split_request
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from hermes_common.events import AssociationOpened, AssociationRejected, InstanceStored
from hermes_common.passcodes import hash_passcode
from hermes_common.runtime.dicom.errors import AssociationRejected as Rejected
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_common.sources import Admission, Judgement
from hermes_receiver.core.contexts import choose_syntaxes
from hermes_receiver.core.negotiation import Acceptance, answer

CT = "1.2.840.10008.5.1.4.1.1.2"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
J2K, J2K_LOSSLESS, JPEG, JPEG_LOSSLESS, RLE, JPIP = (
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.94",
)


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        ([[IMPLICIT_LITTLE]], [IMPLICIT_LITTLE]),
        ([[IMPLICIT_LITTLE, EXPLICIT_LITTLE]], [EXPLICIT_LITTLE]),
        ([[EXPLICIT_LITTLE, BIG, IMPLICIT_LITTLE]], [EXPLICIT_LITTLE]),
        ([[BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE]], [BIG]),
        ([[DEFLATED, EXPLICIT_LITTLE]], [DEFLATED]),
        ([[JPEG, EXPLICIT_LITTLE]], [JPEG]),
        ([[EXPLICIT_LITTLE, JPEG]], [EXPLICIT_LITTLE]),
        ([[IMPLICIT_LITTLE, J2K_LOSSLESS]], [J2K_LOSSLESS]),
        ([[EXPLICIT_LITTLE, JPEG, RLE]], [RLE]),
        ([[JPIP, EXPLICIT_LITTLE]], [EXPLICIT_LITTLE]),
        ([[JPIP]], [JPIP]),
        ([[J2K_LOSSLESS], [EXPLICIT_LITTLE, IMPLICIT_LITTLE]], [J2K_LOSSLESS, EXPLICIT_LITTLE]),
        ([[EXPLICIT_LITTLE, JPEG], [IMPLICIT_LITTLE]], [JPEG, IMPLICIT_LITTLE]),
        ([[IMPLICIT_LITTLE, EXPLICIT_LITTLE], [IMPLICIT_LITTLE]], [EXPLICIT_LITTLE, IMPLICIT_LITTLE]),
        ([["1.2.3.4", EXPLICIT_LITTLE], ["1.2.3.4"]], [EXPLICIT_LITTLE, None]),
    ],
)
def test_the_choice_lets_a_sender_send_what_it_has(offers, chosen):
    contexts = [ProposedContext(2 * n + 1, CT, tuple(offer)) for n, offer in enumerate(offers)]
    result = choose_syntaxes(contexts)
    assert [result.get(context.id) for context in contexts] == chosen


def test_a_list_of_everything_there_is_says_nothing_so_its_order_decides():
    from pynetdicom import ALL_TRANSFER_SYNTAXES

    assert choose_syntaxes([ProposedContext(1, CT, tuple(ALL_TRANSFER_SYNTAXES))]) == {1: EXPLICIT_LITTLE}


@given(st.lists(st.lists(st.sampled_from([IMPLICIT_LITTLE, EXPLICIT_LITTLE, BIG, JPEG, J2K, RLE, JPIP, "9.9"]))))
def test_every_context_with_a_standard_syntax_gets_one_of_its_own_offer(offers):
    contexts = [ProposedContext(n, CT, tuple(offer)) for n, offer in enumerate(offers)]
    chosen = choose_syntaxes(contexts)
    for context in contexts:
        assert (context.id in chosen) is bool(set(context.transfer_syntaxes) - {"9.9"})
        assert chosen.get(context.id) in {None, *context.transfer_syntaxes}


# -- against pynetdicom as the requestor


def requested(receiver, *items, contexts=((CT, [EXPLICIT_LITTLE]),), called="HERMES"):
    ae = AE(ae_title="SENDER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    for abstract, syntaxes in contexts:
        ae.add_requested_context(abstract, syntaxes)
    return ae.associate("127.0.0.1", receiver.port, ae_title=called, ext_neg=list(items))


def test_the_operations_window_is_answered_with_one(receiver):
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 5, 0
    association = requested(receiver, window)
    assert association.is_established
    assert association.acceptor.asynchronous_operations == (1, 1)
    association.release()


def test_nothing_is_answered_that_was_not_asked(receiver):
    association = requested(receiver)
    assert association.acceptor.asynchronous_operations == (1, 1)  # the default of the standard
    kinds = {type(item).__name__ for item in association.acceptor.user_information}
    assert kinds == {
        "MaximumLengthNotification",
        "ImplementationClassUIDNotification",
        "ImplementationVersionNameNotification",
    }
    association.release()


def test_extended_negotiation_of_storage_says_full_and_bit_preserving(receiver):
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = CT, b"\x02\x00\x00\x00\x01\x00"
    other = SOPClassExtendedNegotiation()
    other.sop_class_uid, other.service_class_application_information = "1.2.840.10008.5.1.4.1.2.2.1", b"\x01"
    association = requested(receiver, item, other)
    assert association.acceptor.sop_class_extended == {CT: b"\x02\x00\x03\x00\x00\x00"}
    association.release()


def test_a_private_class_of_another_service_class_is_refused_and_one_of_storage_is_taken(receiver):
    items = []
    for uid, service in (("1.2.826.0.1.3680043.9.1", "1.2.840.10008.4.2"), ("1.2.826.0.1.3680043.9.2", "1.2.3.4")):
        item = SOPClassCommonExtendedNegotiation()
        item.sop_class_uid, item.service_class_uid = uid, service
        items.append(item)
    private = [(item.sop_class_uid, [EXPLICIT_LITTLE]) for item in items]
    association = requested(receiver, *items, contexts=private)
    assert [cx.abstract_syntax for cx in association.accepted_contexts] == ["1.2.826.0.1.3680043.9.1"]
    assert association.rejected_contexts[0].result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    association.release()


def test_roles_are_granted_as_scu_only(receiver):
    association = requested(receiver, build_role(CT, scu_role=True, scp_role=True))
    granted = association.acceptor.role_selection[CT]
    assert (granted.scu_role, granted.scp_role) == (True, False)
    assert association.accepted_contexts[0].as_scu
    association.release()


def test_a_context_that_would_have_us_send_is_refused(receiver):
    role = build_role(CT, scp_role=True)
    association = requested(receiver, role, contexts=[(CT, [EXPLICIT_LITTLE]), (VERIFICATION, [IMPLICIT_LITTLE])])
    assert [cx.abstract_syntax for cx in association.accepted_contexts] == [VERIFICATION]
    assert association.rejected_contexts[0].result == ContextResult.USER_REJECTION
    association.release()


def identity(kind: int, primary: bytes, secondary: bytes | None = None, *, response: bool = True):
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.positive_response_requested = kind, primary, response
    if secondary is not None:
        item.secondary_field = secondary
    return item


@pytest.fixture
def guarded(receiver):
    users = (SourceUser(name="anna", passcode=hash_passcode(b"s3cret-passcode", bytes(16))), SourceUser(name="bob"))
    receiver.sources = Sources(sources=(Source(slug="s", name="S", calling_aet="SENDER", users=users),))
    return receiver


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (identity(2, b"anna", b"s3cret-passcode"), None),
        (identity(1, b"bob"), None),
        (identity(2, b"anna", b"wrong"), "wrong or missing passcode"),
        (identity(1, b"anna"), "wrong or missing passcode"),
        (identity(2, b"carl", b"s3cret-passcode"), "has no such user"),
        (identity(3, b"ticket"), "by kerberos"),
        (identity(4, b"<assertion/>"), "by saml"),
        (identity(5, b"a.b.c"), "by jwt"),
        (None, "none was given"),
    ],
)
def test_where_a_source_has_users_one_of_them_is_needed(guarded, caplog, item, words):
    caplog.set_level(logging.DEBUG, logger="hermes_receiver")
    association = requested(guarded, *([item] if item is not None else []))
    assert association.is_established is (words is None)
    if words is None:
        assert association.acceptor.user_identity.server_response == b""
        assert guarded.events(AssociationOpened)[0].user in ("anna", "bob")
        association.release()
    else:
        primitive = association.acceptor.primitive
        assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, 1)
        assert words in guarded.events(AssociationRejected)[0].reason
    said = caplog.text + "".join(event.model_dump_json() for _, event in guarded.bus.events)
    assert "s3cret-passcode" not in said
    assert "ticket" not in said


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_an_identity_that_nobody_verifies_is_not_confirmed_and_can_be_refused(receiver, kind):
    item = identity(kind, b"somebody", b"x" if kind == 2 else None)
    association = requested(receiver, item)
    assert association.is_established
    assert association.acceptor.user_identity is None
    association.release()
    receiver.sources = Sources(refuse_unverified=True)
    assert requested(receiver, item).is_rejected
    assert "cannot be verified" in receiver.events(AssociationRejected)[0].reason


# -- sub-items byte by byte


def with_items(*items: tuple[int, bytes]) -> bytes:
    pdu = encode_request("SENDER", "HERMES", [ProposedContext(1, CT, (EXPLICIT_LITTLE,))])
    added = b"".join(struct.pack(">BxH", kind, len(body)) + body for kind, body in items)
    start = pdu.rindex(b"\x50\x00", 0, pdu.index(b"\x51\x00\x00\x04"))
    (length,) = struct.unpack_from(">H", pdu, start + 2)
    whole = pdu[: start + 2] + struct.pack(">H", length + len(added)) + pdu[start + 4 :] + added
    return whole[:2] + struct.pack(">L", len(whole) - 6) + whole[6:]


def test_sub_items_that_cannot_be_followed_cost_nobody_the_association():
    pdu = with_items((0x53, b"\0"), (0x54, b"\xff\xff1.2"), (0x56, b""), (0x57, b"\0\x031.2"), (0x58, b"\x02\x01\xff"))
    request = decode_request(pdu)
    assert request.proposal == type(request.proposal)()
    assert request.contexts[0].abstract_syntax == CT


@given(st.lists(st.tuples(st.sampled_from([0x53, 0x54, 0x56, 0x57, 0x58, 0x59]), st.binary(max_size=40)), max_size=6))
def test_whatever_the_sub_items_hold_the_rest_of_the_request_is_read(items):
    request = decode_request(with_items(*items))
    assert (request.calling_aet, request.max_length) == ("SENDER", 131072)


@given(st.binary(max_size=300))
def test_splitting_never_fails_on_any_bytes(raw):
    split_request(raw)


def admit(_: object) -> Judgement:
    return Admission()


def test_a_number_that_the_standard_does_not_know_is_an_identity_of_that_number():
    request = decode_request(with_items((0x58, b"\x09\x01\x00\x01x\x00\x00")))
    assert request.proposal.identity.words == "identity type 9"
    assert "x" not in repr(request.proposal.identity).replace("extended", "")
    assert isinstance(answer(request, "127.0.0.1", admit), Acceptance)


# -- names


@pytest.mark.parametrize("aet", ["A B C", "MR.01", "ABCDEFGHIJKLMNOP", "x", "a-b_c#1"])
def test_ae_titles_with_spaces_dots_and_sixteen_characters_are_kept(receiver, ct, aet):
    contexts = [(ct.sop_class, ct.syntax)]
    with StorageAssociation.negotiate(aet, aet, "127.0.0.1", receiver.port, contexts) as association:
        association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, [ct.data])
    sender = receiver.events(InstanceStored)[0].sender
    assert (sender.calling_aet, sender.called_aet) == (aet, aet)


def test_uids_with_leading_zeros_become_keys_as_they_are(receiver, ct):
    series = str(pydicom.dcmread(ct.path).SeriesInstanceUID).encode()
    zeros = series.replace(b".5962.", b".0962.")
    data = ct.data.replace(series, zeros)
    assert data != ct.data
    with StorageAssociation.negotiate("S", "H", "127.0.0.1", receiver.port, [(ct.sop_class, ct.syntax)]) as association:
        assert association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, [data]).status == 0
    stored = receiver.events(InstanceStored)[0]
    assert stored.series_uid == zeros.decode()
    assert stored.key.startswith(zeros.decode() + "/")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_context_whose_uid_has_leading_zeros_is_taken():
    pdu = encode_request("S", "H", [ProposedContext(1, "1.2.826.0.1.3680043.9.1", (EXPLICIT_LITTLE,))])
    request = decode_request(pdu.replace(b"3680043.9.1", b"3680043.009"))
    outcome = answer(request, "127.0.0.1", admit)
    assert isinstance(outcome, Acceptance)
    assert outcome.accepted[1].abstract_syntax == "1.2.826.0.1.3680043.009"


@pytest.mark.parametrize("length", [0, 4096, 16384, 131072])
def test_any_maximum_length_is_answered_within_it(receiver, length):
    ae = AE()
    ae.maximum_pdu_size = length
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", receiver.port)
    assert association.send_c_echo().Status == 0
    association.release()
    assert receiver.events(AssociationOpened)[0].implementation.startswith("PYNETDICOM")


# -- policy


def test_a_forbidden_sender_is_rejected_with_the_reason_that_fits_and_never_accepted_afterwards(receiver):
    contexts = [(VERIFICATION, IMPLICIT_LITTLE)]

    def outcome(calling="SENDER", called="HERMES"):
        try:
            with StorageAssociation.negotiate(calling, called, "127.0.0.1", receiver.port, contexts):
                return None
        except Rejected as exc:
            return (exc.result, exc.source, exc.reason)

    assert outcome() is None
    receiver.sources = Sources(mode=SourceMode.ALLOW_LIST, sources=(Source(slug="o", name="O", calling_aet="OTHER"),))
    assert {outcome() for _ in range(5)} == {(1, 1, 3)}
    assert outcome("OTHER") is None
    called = (CalledTitle(aet="HERMES"), CalledTitle(aet="OPEN", mode=SourceMode.OPEN))
    receiver.sources = Sources(mode=SourceMode.ALLOW_LIST, called=called, only_called=True)
    assert outcome(called="ELSEWHERE") == (1, 1, 7)
    assert outcome(called="HERMES") == (1, 1, 3)
    assert outcome(called="OPEN") is None
    reasons = [event.reason for event in receiver.events(AssociationRejected, 7)]
    assert len(reasons) == 7
    assert reasons[5] == "called AE title 'ELSEWHERE' is not served here"


# -- DCMTK sends what it has


def test_dcmsend_sends_compressed_and_native_files_in_one_association_as_they_are(receiver, sample):
    found = shutil.which("dcmsend")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("DCMTK's dcmsend is not installed")
        pytest.skip("DCMTK's dcmsend is not installed")
    names = ["CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "JPGExtended.dcm"]
    samples = [sample(name) for name in names]
    command = [found, "127.0.0.1", str(receiver.port), *(str(one.path) for one in samples)]
    subprocess.run(command, check=True, timeout=60, env=os.environ | {"TCP_NODELAY": "1"})
    stored = {event.sop_instance_uid: event for event in receiver.events(InstanceStored, len(samples))}
    for one in samples:
        event = stored[one.sop_instance]
        assert event.transfer_syntax_uid == one.syntax
        kept = pydicom.dcmread(receiver.store.root / event.key)
        assert kept.PixelData == pydicom.dcmread(one.path).PixelData
