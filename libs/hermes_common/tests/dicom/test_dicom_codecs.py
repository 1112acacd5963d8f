"""Part-10 meta, command sets, PDUs, association PDUs, statuses, UIDs: there and back, and against pydicom and
pynetdicom.
"""

from __future__ import annotations

import contextlib
import io

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.dsutils import decode as pynetdicom_decode
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import _STORAGE_CLASSES

from hermes_common.dicom import command as dimse
from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import (
    ContextResult,
    NegotiatedContext,
    ProposedContext,
    decode_accept,
    decode_request,
    encode_accept,
    encode_request,
)
from hermes_common.dicom.errors import MalformedCommand, MalformedPdu, NotPart10
from hermes_common.dicom.part10 import FileMeta, dicom_uri, encode_file_meta, parse_file_meta
from hermes_common.dicom.status import StatusCategory, meaning_of
from hermes_common.dicom.uids import is_standard_transfer_syntax, is_storage_class, is_valid_uid

uids = st.lists(st.integers(0, 10**7), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))
titles = st.text("ABCdef019_-.", min_size=1, max_size=16)


@settings(max_examples=50, deadline=None)
@given(uids, uids, titles, titles, st.binary(max_size=100))
def test_file_meta_information_comes_back_and_pydicom_reads_the_same(sop_class, instance, sending, receiving, private):
    private += b"\x01" * (len(private) % 2)
    meta = FileMeta(
        sop_class, instance, "1.2.840.10008.1.2.1", sending, sending, receiving, dicom_uri("10.0.0.1", 5000), "",
        dicom_uri("::1", 1),
        private_creator_uid="1.2.3" if private else "", private_information=private,
    )  # fmt: skip
    raw = encode_file_meta(meta)
    part10 = parse_file_meta(raw + b"\x08\x00\x05\x00")
    assert part10.meta == meta
    assert part10.offset == len(raw)
    assert raw.endswith(private)
    group = pydicom.dcmread(io.BytesIO(raw)).file_meta
    assert group.MediaStorageSOPInstanceUID == instance
    assert group.SourceApplicationEntityTitle == sending
    assert group[0x00020028].value == "dicom://[::1]:1"
    assert group[0x00020000].value == len(raw) - 144


@given(st.binary(max_size=400))
def test_garbage_is_no_part10_file(raw):
    for data in (raw, bytes(128) + b"DICM" + raw):
        with contextlib.suppress(NotPart10):
            parse_file_meta(data)


def test_a_cut_file_meta_is_refused_at_every_length():
    raw = encode_file_meta(FileMeta("1.2", "1.3", "1.2.840.10008.1.2"))
    needed = raw.index(b"\x02\x00\x10\x00") + 8
    for cut in range(needed):
        with pytest.raises(NotPart10):
            parse_file_meta(raw[:cut])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 65535), uids, uids)
def test_a_store_request_comes_back_and_pynetdicom_reads_the_same(message, sop_class, instance):
    raw = dimse.store_request(message, sop_class, instance, move_originator=("MOVER", 9))
    command = dimse.decode_command(raw)
    assert command.field == dimse.CommandField.C_STORE_RQ
    assert command.number(dimse.MESSAGE_ID) == message
    assert command.text(dimse.AFFECTED_SOP_INSTANCE) == instance
    assert command.has_data_set
    reference = pynetdicom_decode(io.BytesIO(raw), True, True)
    assert reference.AffectedSOPClassUID == sop_class
    assert reference.MoveOriginatorApplicationEntityTitle == "MOVER"
    assert reference.CommandGroupLength == len(raw) - 12


def test_a_response_repeats_the_request_and_carries_comment_and_offending_elements():
    request = dimse.decode_command(dimse.store_request(7, "1.2", "1.3"))
    raw = dimse.response_to(request, 0xA900, comment="x" * 100, offending=(0x00080018,))
    reference = pynetdicom_decode(io.BytesIO(raw), True, True)
    assert reference.CommandField == 0x8001
    assert reference.MessageIDBeingRespondedTo == 7
    assert reference.Status == 0xA900
    assert reference.ErrorComment == "x" * 64
    assert reference.OffendingElement == 0x00080018
    assert not dimse.decode_command(raw).has_data_set


@given(st.binary(max_size=200))
def test_garbage_is_no_command(raw):
    with contextlib.suppress(MalformedCommand):
        dimse.decode_command(raw)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=12), st.integers(1, 40))
def test_fragments_join_to_what_was_cut_with_one_last_and_all_others_full(chunks, size):
    parts = [(bytes(view), last) for view, last in pdus.fragments(chunks, size)]
    assert b"".join(part for part, _ in parts) == b"".join(chunks)
    assert [last for _, last in parts] == [False] * (len(parts) - 1) + [True]
    assert all(len(part) == size for part, last in parts if not last)
    assert 0 < len(parts[-1][0]) <= size or len(parts) == 1


@given(st.binary(max_size=300), st.integers(1, 40))
def test_a_data_set_in_memory_is_framed_as_one_that_comes_in_chunks(data, size):
    expected = b"".join(
        pdus.p_data_head(5, len(part), is_command=False, is_last=last) + bytes(part)
        for part, last in pdus.fragments([data], size)
    )
    assert b"".join(pdus.data_pdus(5, data, size)) == expected


@given(st.binary(min_size=1, max_size=2000), st.integers(0, 300))
def test_framed_commands_are_read_by_pynetdicom(command, max_length):
    raw, rest = pdus.command_pdus(3, command, max_length), b""
    joined = b""
    while raw:
        _, length = pdus.parse_header(raw)
        assert max_length == 0 or length <= max(max_length, pdus.MIN_MAX_LENGTH)
        reference = P_DATA_TF()
        reference.decode(raw[: 6 + length])
        (pdv,) = pdus.iter_pdvs(memoryview(raw)[6 : 6 + length])
        item = reference.presentation_data_value_items[0]
        assert (item.presentation_context_id, item.presentation_data_value[1:]) == (3, bytes(pdv.fragment))
        assert pdv.is_command
        joined += pdv.fragment
        raw, rest = raw[6 + length :], raw
    assert joined == command
    assert rest


@given(st.binary(max_size=100))
def test_garbage_values_are_malformed_or_values(raw):
    with contextlib.suppress(MalformedPdu):
        for pdv in pdus.iter_pdvs(memoryview(raw)):
            assert len(pdv.fragment) <= len(raw)


@settings(max_examples=50, deadline=None)
@given(
    titles,
    titles,
    st.lists(st.tuples(uids, st.lists(uids, min_size=1, max_size=3)), min_size=1, max_size=6),
    st.integers(0, 2**31),
)
def test_association_requests_and_accepts_come_back(calling, called, wanted, length):
    contexts = [
        ProposedContext(2 * n + 1, sop, tuple(dict.fromkeys(syntaxes))) for n, (sop, syntaxes) in enumerate(wanted)
    ]
    request = decode_request(encode_request(calling, called, contexts, length))
    assert (request.calling_aet, request.called_aet, request.max_length) == (calling, called, length)
    assert list(request.contexts) == contexts
    results = [
        NegotiatedContext(c.id, c.abstract_syntax, c.transfer_syntaxes[0], ContextResult.ACCEPTED) for c in contexts
    ]
    accept = decode_accept(encode_accept(request, results, length), contexts)
    assert list(accept.contexts) == results
    assert accept.max_length == length


def test_ae_titles_of_any_bytes_are_read_and_repeated():
    raw = bytearray(encode_request("ME", "YOU", [ProposedContext(1, "1.2", ("1.2.840.10008.1.2",))]))
    raw[26:42] = b"\xffR\xc3\xb6ntgen 1.2 x "
    request = decode_request(bytes(raw))
    assert request.calling_aet == "ÿRÃ¶ntgen 1.2 x"
    answer = encode_accept(request, [NegotiatedContext(1, "1.2", "1.2.840.10008.1.2", ContextResult.ACCEPTED)], 0)
    assert answer[26:42] == bytes(raw[26:42])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_requests_are_malformed_or_requests(data):
    raw = bytearray(encode_request("ME", "YOU", [ProposedContext(1, "1.2", ("1.2.840.10008.1.2",))]))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(6, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedPdu):
        decode_request(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (0x0000, StatusCategory.SUCCESS),
        (0xB000, StatusCategory.WARNING),
        (0xB006, StatusCategory.WARNING),
        (0xA700, StatusCategory.OUT_OF_RESOURCES),
        (0xA7FF, StatusCategory.OUT_OF_RESOURCES),
        (0xA900, StatusCategory.MISMATCH),
        (0xC000, StatusCategory.CANNOT_UNDERSTAND),
        (0xCFFF, StatusCategory.CANNOT_UNDERSTAND),
        (0x0122, StatusCategory.REFUSED),
        (0x0110, StatusCategory.FAILURE),
        (0xFFFF, StatusCategory.FAILURE),
    ],
)
def test_a_status_has_a_category_and_words(code, category):
    assert meaning_of(code).category is category
    assert meaning_of(code).words


def test_only_success_and_warnings_count_as_stored_among_all_codes():
    stored = {code for code in range(0x10000) if meaning_of(code).is_stored}
    assert stored == {0, 1, 0x0107, 0x0116} | set(range(0xB000, 0xC000))


def test_storage_classes_are_told_from_other_services():
    assert all(is_storage_class(uid) for uid in _STORAGE_CLASSES.values())
    assert is_storage_class("1.2.3.4.5")
    for other in (
        "1.2.840.10008.1.1",
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.5.1.4.1.2.1.1",
        "1.2.840.10008.5.1.4.31",
        "1.2.840.10008.1.3.10",
        "",
        "x",
    ):
        assert not is_storage_class(other)


def test_transfer_syntaxes_are_the_standards():
    for uid in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.1.99"):
        assert is_standard_transfer_syntax(uid)
    for uid in ("1.2.840.113619.5.2", "1.2.840.10008.1.2.6.1", "1.2.840.10008.1.1", ""):
        assert not is_standard_transfer_syntax(uid)


@given(st.text(max_size=70))
def test_uids_are_digits_and_single_dots(text):
    if is_valid_uid(text):
        assert set(text) <= set("0123456789.")
        assert "" not in text.split(".")
        assert len(text) <= 64
