"""Why bytes lie in quarantine, in words: what the status means there, and what can be done."""

from dataclasses import dataclass
from typing import Final

from hermes_common.dicom import status


@dataclass(frozen=True, slots=True)
class Explained:
    """What it means, and what to do."""

    means: str
    to_do: str


_KNOWN: Final = {
    status.DATA_SET_MISMATCH: Explained(
        "The sender named another SOP class or instance in its command than the data set has.",
        "Submit it again: it is then taken under the UIDs of the data set. Tell the maker of the sender.",
    ),
    status.CANNOT_UNDERSTAND: Explained(
        "The data set breaks off, or is not what its transfer syntax says.",
        "Have the sender send it again. If that ends the same way, download it and show it to the sender's maker.",
    ),
    status.MISSING_UID: Explained(
        "A UID that names patient, study or series of the image is missing: it belongs nowhere.",
        "Correct it at the sender and send it again.",
    ),
    status.INVALID_UID: Explained(
        "A UID has characters, or a form, that no UID may have.",
        "Correct it at the sender and send it again.",
    ),
    status.TOO_LARGE: Explained(
        "It is larger than this receiver takes (HERMES_INSTANCE_MAX_BYTES).",
        "Raise the limit if there is room for it, then submit it again.",
    ),
}
_OTHER: Final = Explained(
    "It could not be taken as an instance, for the reason beside it.",
    "Have the sender send it again, or download it to look at.",
)


def explain_status(code: int) -> Explained:
    """Return what a status that a sender was given means for what lies in quarantine."""
    return _KNOWN.get(code, _OTHER)
