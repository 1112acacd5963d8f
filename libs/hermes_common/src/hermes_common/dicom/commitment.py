"""The data sets of storage commitment: request and result, read and written (PS3.4 J.3.2.1.1, J.3.3.1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from hermes_common.dicom.uids import encoding_of
from hermes_common.ids import InvalidIdentifierError, check_uid

MAX_REQUEST_LENGTH: Final = 16 * 1024 * 1024
MAX_REFERENCES: Final = 50_000
"""Instances in one request; 16 MB hold more than that."""

REQUEST_COMMITMENT: Final = 1
"""Action Type ID."""
ALL_COMMITTED: Final = 1
"""Event Type ID: every instance is held."""
FAILURES_EXIST: Final = 2
"""Event Type ID: some are not."""

PASSING: Final = frozenset({0x0110, 0x0131, 0x0213})
"""Failure reasons that another request may cure."""

_REASONS: Final = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class and instance do not belong together",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}


def failure_words(reason: int) -> str:
    """Return a Failure Reason (0008,1197) in words, with its code (PS3.3 C.14.1.1)."""
    return f"{_REASONS.get(reason, 'a reason that the standard does not name')} ({reason:04X}H)"


class InvalidCommitmentRequest(Exception):  # noqa: N818 - named after the situation
    """A request that cannot be understood; the message says why, in at most 64 characters."""


class InvalidCommitmentResult(Exception):  # noqa: N818 - named after the situation
    """A result that cannot be understood; the message says why, in at most 64 characters."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance that the sender asks about."""

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """Transaction UID and the instances, each once, in the order of the request."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """What is durably held, and what is not with its Failure Reason (0008,1197)."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...] = ()

    @property
    def event_type(self) -> int:
        """Event Type ID of the report."""
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


def parse_request(data: bytes, transfer_syntax: str) -> CommitmentRequest:
    """Read the data set of an N-ACTION request; raises :class:`InvalidCommitmentRequest`."""
    encoding = encoding_of(transfer_syntax)
    try:
        dataset = read_dataset(BytesIO(data), not encoding.explicit, encoding.little)
        transaction = str(dataset.get("TransactionUID", "") or "")
        items = dataset.get("ReferencedSOPSequence") or ()
        references = tuple(
            dict.fromkeys(
                Reference(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in items
            )
        )
    except Exception as exc:  # pydicom raises whatever bytes of a stranger provoke; each such case is one outcome
        raise InvalidCommitmentRequest(f"unreadable request ({type(exc).__name__})"[:64]) from exc
    if not references:
        raise InvalidCommitmentRequest("no instances: Referenced SOP Sequence is empty")
    if len(references) > MAX_REFERENCES:
        raise InvalidCommitmentRequest(f"more than {MAX_REFERENCES} instances in one request")
    try:
        for uid in (transaction, *(uid for item in references for uid in (item.sop_class, item.sop_instance))):
            check_uid(uid)
    except InvalidIdentifierError as exc:
        raise InvalidCommitmentRequest("a UID is missing or invalid") from exc
    return CommitmentRequest(transaction, references)


def parse_result(data: bytes, transfer_syntax: str) -> CommitmentResult:
    """Read the data set of an N-EVENT-REPORT; raises :class:`InvalidCommitmentResult`.

    A failed instance without a reason counts as a processing failure.
    """
    encoding = encoding_of(transfer_syntax)
    try:
        dataset = read_dataset(BytesIO(data), not encoding.explicit, encoding.little)
        transaction = str(dataset.get("TransactionUID", "") or "")
        committed = tuple(dict.fromkeys(map(_reference, dataset.get("ReferencedSOPSequence") or ())))
        failures = {_reference(item): _reason(item) for item in dataset.get("FailedSOPSequence") or ()}
    except Exception as exc:  # pydicom raises whatever bytes of a stranger provoke; each such case is one outcome
        raise InvalidCommitmentResult(f"unreadable result ({type(exc).__name__})"[:64]) from exc
    if len(committed) + len(failures) > MAX_REFERENCES:
        raise InvalidCommitmentResult(f"more than {MAX_REFERENCES} instances in one result")
    try:
        for uid in (transaction, *(each.sop_instance for each in (*committed, *failures))):
            check_uid(uid)
        for sop_class in {each.sop_class for each in committed} - {""}:
            check_uid(sop_class)
    except InvalidIdentifierError as exc:
        raise InvalidCommitmentResult("a UID is missing or invalid") from exc
    return CommitmentResult(transaction, committed, tuple(failures.items()))


def _reference(item: Dataset) -> Reference:
    return Reference(str(item.get("ReferencedSOPClassUID", "") or ""), str(item.ReferencedSOPInstanceUID))


def _reason(item: Dataset) -> int:
    reason = item.get("FailureReason")
    return 0x0110 if reason is None else int(reason)


def encode_request(request: CommitmentRequest, transfer_syntax: str) -> bytes:
    """Return the data set of an N-ACTION request; explicit or implicit little endian."""
    dataset = Dataset()
    dataset.TransactionUID = request.transaction_uid
    dataset.ReferencedSOPSequence = list(map(_item, request.references))
    return _encoded(dataset, transfer_syntax)


def result_dataset(result: CommitmentResult) -> Dataset:
    """Return the data set of an N-EVENT-REPORT."""
    dataset = Dataset()
    dataset.TransactionUID = result.transaction_uid
    if result.committed:
        dataset.ReferencedSOPSequence = list(map(_item, result.committed))
    if result.failed:
        dataset.FailedSOPSequence = list(_failed(result.failed))
    return dataset


def encode_result(result: CommitmentResult, transfer_syntax: str) -> bytes:
    """Return the bytes of :func:`result_dataset`; explicit or implicit little endian."""
    return _encoded(result_dataset(result), transfer_syntax)


def _encoded(dataset: Dataset, transfer_syntax: str) -> bytes:
    encoding = encoding_of(transfer_syntax)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = not encoding.explicit, encoding.little
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class
    item.ReferencedSOPInstanceUID = reference.sop_instance
    return item


def _failed(failed: Iterable[tuple[Reference, int]]) -> Iterable[Dataset]:
    for reference, reason in failed:
        item = _item(reference)
        item.FailureReason = reason
        yield item
