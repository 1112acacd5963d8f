"""What became of one instance, and what kind of trouble stands in the way of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from hermes_common.dicom.status import StatusCategory, StatusMeaning


class Trouble(StrEnum):
    """Why an instance has not been delivered."""

    UNREACHABLE = "unreachable"
    """The target does not answer, or the association broke."""
    REJECTED = "rejected"
    """The target refuses the association for good: somebody has to change something, perhaps soon."""
    BUSY = "busy"
    """The target cannot take it now, or failed without saying that sending again is of no use."""
    REFUSED = "refused"
    """The target refuses this very instance: sending the same bytes again is of no use."""
    CORRUPT = "corrupt"
    """The object in the store is not what was received: it is never sent."""
    ABSENT = "absent"
    """There is no such object in the store: after a power cut the receiver may be about to put it there again."""
    UNCHANGEABLE = "unchangeable"
    """It cannot be changed as the target's settings ask: it is never sent unchanged."""
    INTERNAL = "internal"
    """The dispatcher itself failed."""


PASSING = frozenset({Trouble.UNREACHABLE, Trouble.REJECTED, Trouble.BUSY, Trouble.ABSENT, Trouble.INTERNAL})
"""What another attempt may cure."""

WORDS: Mapping[Trouble, str] = {
    Trouble.UNREACHABLE: "target not reachable",
    Trouble.REJECTED: "association rejected",
    Trouble.BUSY: "target busy or failing",
    Trouble.REFUSED: "refused for good",
    Trouble.CORRUPT: "damaged in the store, not sent",
    Trouble.ABSENT: "not in the store",
    Trouble.UNCHANGEABLE: "cannot be changed as this target asks, not sent",
    Trouble.INTERNAL: "error in the dispatcher",
}


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target has said of this very instance that it has it; ``status`` is its DIMSE status, if it gives one."""

    status: int | None = None
    note: str = ""
    """What it had to remark (a warning status)."""


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """The instance is not at the target, as far as the target has said."""

    trouble: Trouble
    reason: str
    status: int | None = None
    wait: timedelta | None = None
    """For how long the target has asked to be left alone."""


Outcome = Delivered | NotDelivered


def outcome_of(meaning: StatusMeaning, comment: str) -> Outcome:
    """Return what a C-STORE status means for the instance (PS3.4 B.2.3). A status that no table knows is a failure."""
    words = f"{meaning.code:04X}H {meaning.words} ({meaning.paragraph})" + (f": {comment}" if comment else "")
    match meaning.category:
        case StatusCategory.SUCCESS:
            return Delivered(meaning.code)
        case StatusCategory.WARNING:
            return Delivered(meaning.code, words)
        case StatusCategory.OUT_OF_RESOURCES | StatusCategory.FAILURE:
            return NotDelivered(Trouble.BUSY, words, meaning.code)
        case _:
            return NotDelivered(Trouble.REFUSED, words, meaning.code)
