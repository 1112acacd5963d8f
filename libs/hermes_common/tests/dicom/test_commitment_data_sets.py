"""Requests and results of storage commitment are read back as they were written; of anything else it is said why."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_common.commitments import PART, answers
from hermes_common.dicom.commitment import (
    CommitmentRequest,
    CommitmentResult,
    InvalidCommitmentResult,
    Reference,
    encode_request,
    encode_result,
    parse_request,
    parse_result,
)
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hermes_common.records import TransactionRecord

CT = "1.2.840.10008.5.1.4.1.1.2"
RESULT = CommitmentResult(
    "2.25.7", (Reference(CT, "1.2.3"), Reference(CT, "1.2.4")), ((Reference(CT, "1.2.5"), 0x0112),)
)
RECORD = TransactionRecord(
    transaction_uid="2.25.7", delivery_id="d", series_uid="1.2", study_uid="1.3", batch_id="b", target="pacs"
)


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_requests_and_results_are_read_back_as_they_were_written(syntax: str) -> None:
    request = CommitmentRequest("2.25.7", RESULT.committed)
    assert parse_request(encode_request(request, syntax), syntax) == request
    assert parse_result(encode_result(RESULT, syntax), syntax) == RESULT


@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")  # of pydicom, which writes them all the same
@pytest.mark.parametrize(
    "wrong",
    [
        CommitmentResult("", RESULT.committed),
        CommitmentResult("2.25.x", RESULT.committed),
        CommitmentResult("2.25.7", (Reference(CT, ""),)),
        CommitmentResult("2.25.7", (Reference("1" * 300, "1.2.3"),)),
        CommitmentResult("2.25.7", (), ((Reference(CT, "a"), 0x0112),)),
    ],
    ids=["no transaction", "no UID", "no instance", "no class", "no failed instance"],
)
def test_a_result_with_something_else_than_uids_is_refused_in_words(wrong: CommitmentResult) -> None:
    with pytest.raises(InvalidCommitmentResult) as refused:
        parse_result(encode_result(wrong, IMPLICIT_LITTLE), IMPLICIT_LITTLE)
    assert 0 < len(str(refused.value)) <= 64


@given(st.data())
def test_whatever_bytes_come_they_are_a_result_or_refused(data: st.DataObject) -> None:
    raw = bytearray(encode_result(RESULT, EXPLICIT_LITTLE))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InvalidCommitmentResult):
        for event, _ in answers(
            RECORD, parse_result(bytes(raw[: data.draw(st.integers(0, len(raw)))]), EXPLICIT_LITTLE), ""
        ):
            assert len(event.committed) == len(event.committed_classes)


def test_a_long_result_is_said_in_parts_and_the_same_one_twice_under_the_same_ids() -> None:
    kept = tuple(Reference(CT, f"1.2.{number}") for number in range(2 * PART + 1))
    said = answers(RECORD, CommitmentResult("2.25.7", kept, RESULT.failed), "here")
    assert [len(event.committed) for event, _ in said] == [PART, PART, 1]
    assert [(event.part, event.parts) for event, _ in said] == [(1, 3), (2, 3), (3, 3)]
    assert [each.sop_instance_uid for event, _ in said for each in event.failed] == ["1.2.5"]
    again = answers(RECORD, CommitmentResult("2.25.7", kept, RESULT.failed), "elsewhere")
    assert [event_id for _, event_id in again] == [event_id for _, event_id in said]
    other = answers(RECORD, CommitmentResult("2.25.7", kept), "here")
    assert not {event_id for _, event_id in other} & {event_id for _, event_id in said}
