"""What can be wrong with DICOM bytes.

    DicomError
    +-- NotPart10            the bytes are no Part-10 file (PS3.10 7.1)
    +-- DataSetError         a data set from which an instance cannot be made
    |   +-- UnreadableDataset    its structure cannot be followed
    |   +-- HeadTooShort         the bytes given end before the routing attributes do: give more
    |   +-- MissingUid           a UID that identifies the instance is absent or empty
    |   +-- InvalidUid           a UID has characters, components or a length that PS3.5 9.1 forbids
    +-- MalformedPdu         bytes from the network that PS3.8 9.3 does not allow
    +-- MalformedCommand     a command set that PS3.7 6.3 does not allow

Every error carries ``reason``: one clause that an operator can read, without patient data.
"""

# ruff: noqa: N818 - errors are named after the situation, not after the word "error"

from __future__ import annotations


class DicomError(Exception):
    """Base of everything wrong with DICOM bytes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotPart10(DicomError):
    """The bytes do not start with a Part-10 preamble, prefix and file meta information."""


class DataSetError(DicomError):
    """A data set from which no instance can be made."""


class UnreadableDataset(DataSetError):
    """The structure of the data set cannot be followed (also: nested too deep, inflates beyond the bound)."""


class HeadTooShort(DataSetError):
    """The given head ends before the last routing attribute; the same bytes with more behind them may be fine."""


class MissingUid(DataSetError):
    """An identifying UID is absent or empty; ``keyword`` says which."""

    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} is missing or empty")
        self.keyword = keyword


class InvalidUid(DataSetError):
    """An identifying UID cannot be a UID; ``keyword`` says which."""

    def __init__(self, keyword: str, problem: str) -> None:
        super().__init__(f"{keyword} is not a UID: {problem}")
        self.keyword = keyword


class MalformedPdu(DicomError):
    """Bytes that are no PDU of the DICOM upper layer (PS3.8 9.3), or one longer than was agreed."""


class MalformedCommand(DicomError):
    """A command set that cannot be read or lacks a required element (PS3.7 6.3, 9.3)."""
