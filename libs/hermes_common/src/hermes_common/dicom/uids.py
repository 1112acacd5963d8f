"""UIDs: validity, Hermes' own, and which transfer syntaxes and SOP classes are which (PS3.5 9, PS3.6 A, PS3.4 B.5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from hermes_common.dicom.standard import UIDS
from hermes_common.ids import InvalidIdentifierError, check_uid

VERIFICATION: Final = "1.2.840.10008.1.1"
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
STORAGE_SERVICE: Final = "1.2.840.10008.4.2"
COMMITMENT: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP class (PS3.4 J.3)."""
COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Its well-known instance."""
MPPS: Final = "1.2.840.10008.3.1.2.3.3"
"""Modality Performed Procedure Step SOP class (PS3.4 F.7)."""

IMPLEMENTATION_CLASS_UID: Final = "2.25.129782588092694493159499723291737932872"
IMPLEMENTATION_VERSION: Final = "HERMES_0_1"

_NOT_DATA_SETS: Final = (
    "1.2.840.10008.1.2.6.",
    "1.2.840.10008.1.2.7.",
)  # MIME / XML encapsulation; SMPTE ST 2110 flows


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a data set are written (PS3.5 A)."""

    explicit: bool
    little: bool
    deflated: bool = False


def uid_problem(value: str) -> str | None:
    """Say what makes ``value`` unusable as a UID, or None; the rule is that of :func:`hermes_common.ids.check_uid`."""
    try:
        check_uid(value)
    except InvalidIdentifierError as exc:
        return str(exc)
    return None


def is_valid_uid(value: str) -> bool:
    """Whether :func:`uid_problem` finds nothing."""
    return uid_problem(value) is None


def is_standard_transfer_syntax(uid: str) -> bool:
    """Whether PS3.6 A-1 lists ``uid``, retired ones included, as a transfer syntax of a DICOM data set."""
    entry = UIDS.get(uid)
    return entry is not None and entry[1] == "Transfer Syntax" and not uid.startswith(_NOT_DATA_SETS)


def encoding_of(transfer_syntax: str) -> Encoding:
    """Say how the data set is encoded under ``transfer_syntax``; every encapsulated syntax is explicit little endian
    (PS3.5 A.4).
    """
    match transfer_syntax:
        case "1.2.840.10008.1.2" | "1.2.840.10008.1.20":  # the second is Papyrus 3, retired
            return Encoding(explicit=False, little=True)
        case "1.2.840.10008.1.2.2":
            return Encoding(explicit=True, little=False)
        case "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205":
            return Encoding(explicit=True, little=True, deflated=True)
        case _:
            return Encoding(explicit=True, little=True)


_NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG, "1.2.840.10008.1.20"})
_LOSSLESS: Final = frozenset(
    {
        "1.2.840.10008.1.2.5",  # RLE
        "1.2.840.10008.1.2.8.1",  # deflated frames
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.92",
        "1.2.840.10008.1.2.4.110",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.202",
    }
)
_REFERENCED: Final = frozenset(
    {
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.204",
        "1.2.840.10008.1.2.4.205",
    }
)


class SyntaxKind(StrEnum):
    """What a transfer syntax does to the pixels."""

    NATIVE = "native"
    LOSSLESS = "lossless"
    """Compressed, and every pixel comes back."""
    LOSSY = "lossy"
    """Compressed, and pixels may be lost if it is done anew."""
    REFERENCED = "referenced"
    """The pixels are elsewhere (JPIP)."""


def syntax_kind(uid: str) -> SyntaxKind:
    """Say what a standard transfer syntax does to the pixels; one that is not known may lose some."""
    if uid in _NATIVE:
        return SyntaxKind.NATIVE
    if uid in _REFERENCED:
        return SyntaxKind.REFERENCED
    return SyntaxKind.LOSSLESS if uid in _LOSSLESS else SyntaxKind.LOSSY


@lru_cache(1024)
def is_storage_class(uid: str) -> bool:
    """Whether instances of the abstract syntax ``uid`` may be stored with C-STORE.

    True for every storage SOP class of PS3.4 B.5 (retired ones too), for private classes and for anything unknown;
    false for what
    the standard defines as another service (query, print, worklist, commitment ...), and for text that is no UID.
    """
    if not is_valid_uid(uid):
        return False
    entry = UIDS.get(uid)
    if entry is None:
        return True
    name, kind = entry[0], entry[1]
    if kind != "SOP Class" or "Commitment" in name or "Directory" in name:
        return False
    return "Storage" in name or not name  # two retired image classes have lost their names
