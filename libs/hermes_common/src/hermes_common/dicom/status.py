"""DIMSE statuses of the Storage and Verification services: what they mean and what a sender does about them (PS3.4
B.2.3, PS3.7 C).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SUCCESS: Final = 0x0000
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_INSTANCE: Final = 0x0111
NO_SUCH_INSTANCE: Final = 0x0112
NO_SUCH_EVENT: Final = 0x0113
INVALID_ARGUMENT: Final = 0x0115
INVALID_INSTANCE: Final = 0x0117
CLASS_INSTANCE_CONFLICT: Final = 0x0119
MISSING_ATTRIBUTE: Final = 0x0120
MISSING_ATTRIBUTE_VALUE: Final = 0x0121
NO_SUCH_ACTION: Final = 0x0123
DUPLICATE_TRANSACTION: Final = 0x0131
RESOURCE_LIMITATION: Final = 0x0213
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NOT_AUTHORIZED: Final = 0x0124
UNRECOGNISED_OPERATION: Final = 0x0211
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
"""The data set's structure cannot be followed."""
MISSING_UID: Final = 0xC001
"""An identifying UID is absent."""
INVALID_UID: Final = 0xC002
"""An identifying UID is malformed."""
TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 0xC122
"""STOW-RS only: over an association it would not have been negotiated (PS3.18 I.2.2)."""
TOO_LARGE: Final = 0xC003
"""The data set is larger than this receiver takes."""


class StatusCategory(StrEnum):
    """What a status means for the instance."""

    SUCCESS = "success"
    WARNING = "warning"
    """Stored, with something coerced or discarded: treated as stored."""
    OUT_OF_RESOURCES = "out_of_resources"
    """Not stored, for want of something that may come back: send again later."""
    MISMATCH = "mismatch"
    """Refused: the data set does not match its SOP class or its command."""
    CANNOT_UNDERSTAND = "cannot_understand"
    """Refused: the data set cannot be processed."""
    REFUSED = "refused"
    """Refused for a reason that sending again does not change (not authorized, not supported, duplicate ...)."""
    FAILURE = "failure"
    """Failed without saying whether sending again helps."""


@dataclass(frozen=True, slots=True)
class StatusMeaning:
    """Status code, category and words for people."""

    code: int
    category: StatusCategory
    words: str

    @property
    def is_stored(self) -> bool:
        """Whether the peer says that it has the instance."""
        return self.category in (StatusCategory.SUCCESS, StatusCategory.WARNING)

    @property
    def paragraph(self) -> str:
        """Where the standard says so: the statuses of the Storage Service, or those of every DIMSE service."""
        return "PS3.4 B.2.3" if self.code >> 12 in (0xA, 0xB, 0xC) else "PS3.7 C"

    @property
    def is_worth_retrying(self) -> bool:
        """Whether the same bytes may be taken later."""
        return self.category in (StatusCategory.OUT_OF_RESOURCES, StatusCategory.FAILURE)


_EXACT: Final[dict[int, tuple[StatusCategory, str]]] = {
    0x0000: (StatusCategory.SUCCESS, "stored"),
    0x0001: (StatusCategory.WARNING, "stored, requested optional attributes not supported"),
    0x0105: (StatusCategory.REFUSED, "no such attribute"),
    0x0106: (StatusCategory.REFUSED, "invalid attribute value"),
    0x0107: (StatusCategory.WARNING, "stored, attribute list error"),
    0x0110: (StatusCategory.FAILURE, "processing failure"),
    0x0111: (StatusCategory.REFUSED, "duplicate SOP instance"),
    0x0112: (StatusCategory.REFUSED, "no such SOP instance"),
    0x0115: (StatusCategory.REFUSED, "invalid argument value"),
    0x0116: (StatusCategory.WARNING, "stored, attribute value out of range"),
    0x0117: (StatusCategory.REFUSED, "invalid SOP instance"),
    0x0118: (StatusCategory.REFUSED, "no such SOP class"),
    0x0119: (StatusCategory.REFUSED, "class and instance conflict"),
    0x0120: (StatusCategory.REFUSED, "missing attribute"),
    0x0121: (StatusCategory.REFUSED, "missing attribute value"),
    0x0122: (StatusCategory.REFUSED, "SOP class not supported"),
    0x0124: (StatusCategory.REFUSED, "not authorized"),
    0x0210: (StatusCategory.FAILURE, "duplicate invocation"),
    0x0211: (StatusCategory.REFUSED, "unrecognised operation"),
    0x0212: (StatusCategory.REFUSED, "mistyped argument"),
    0x0213: (StatusCategory.OUT_OF_RESOURCES, "resource limitation"),
    0xB000: (StatusCategory.WARNING, "stored, data elements coerced"),
    0xB006: (StatusCategory.WARNING, "stored, elements discarded"),
    0xB007: (StatusCategory.WARNING, "stored, data set does not match its SOP class"),
    0xC001: (StatusCategory.CANNOT_UNDERSTAND, "cannot understand (a UID is missing, if said by Hermes)"),
    0xC002: (StatusCategory.CANNOT_UNDERSTAND, "cannot understand (a UID is invalid, if said by Hermes)"),
    0xC003: (StatusCategory.CANNOT_UNDERSTAND, "cannot understand (too large, if said by Hermes)"),
    0xFE00: (StatusCategory.FAILURE, "cancelled"),
}
_RANGES: Final = (
    (0xA700, 0xA7FF, StatusCategory.OUT_OF_RESOURCES, "refused: out of resources"),
    (0xA800, 0xA8FF, StatusCategory.REFUSED, "refused: SOP class not supported"),
    (0xA900, 0xA9FF, StatusCategory.MISMATCH, "data set does not match SOP class"),
    (0xA000, 0xAFFF, StatusCategory.FAILURE, "failure"),
    (0xB000, 0xBFFF, StatusCategory.WARNING, "stored, with a warning"),
    (0xC000, 0xCFFF, StatusCategory.CANNOT_UNDERSTAND, "cannot understand"),
    (0x0100, 0x02FF, StatusCategory.FAILURE, "failure"),
)


def meaning_of(code: int) -> StatusMeaning:
    """Return the meaning of a C-STORE or C-ECHO status; a code that no table knows is a failure, never a success."""
    if code in _EXACT:
        category, words = _EXACT[code]
        return StatusMeaning(code, category, words)
    for first, last, category, words in _RANGES:
        if first <= code <= last:
            return StatusMeaning(code, category, words)
    return StatusMeaning(code, StatusCategory.FAILURE, "unknown status")
