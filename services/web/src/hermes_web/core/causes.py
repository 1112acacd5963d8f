"""Why deliveries fail, in words: from the reason that the dispatcher gave to a cause, what it means and what to try.

The dispatcher's reasons are made by ``hermes_common.runtime.dicom.errors`` and its own retry decision. A reason that no
line of the table knows is a cause of its own kind, with the reason itself: nothing is hidden.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hermes_common.dicom.status import StatusCategory, meaning_of


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of failure. ``code`` names it in addresses; ``helps`` is whether trying again may be enough."""

    code: str
    stage: str
    title: str
    means: str
    to_do: str
    helps: bool = True


_TABLE: Final = (
    (
        r"the folder .* does not exist",
        Cause(
            "folder-missing",
            "folder",
            "The folder is not there",
            "The path in the target's settings does not exist on the dispatcher's machine: it was never made, or the "
            "share is not mounted.",
            "Make the folder or mount the share at the dispatcher's machine, or correct the path; test, then retry.",
        ),
    ),
    (
        r"cannot reach .*(name cannot be resolved|name server did not answer)",
        Cause(
            "name-unknown",
            "connection",
            "The target's name cannot be resolved",
            "The name in the target's settings has no address in the DNS of the dispatcher's machine.",
            "Correct the host of the target, or the DNS entry; test the target, then retry.",
        ),
    ),
    (
        r"cannot reach .*refused",
        Cause(
            "connection-refused",
            "connection",
            "The target refuses connections",
            "Its machine answers, but nothing listens on the port: the DICOM service there is stopped, or the port is "
            "another one.",
            "Start the service at the target or correct the port; test the target, then retry.",
        ),
    ),
    (
        r"cannot reach",
        Cause(
            "unreachable",
            "connection",
            "The target cannot be reached",
            "No connection came about: the machine is off, the route is broken, or a firewall drops the packets.",
            "Check that the machine runs and that the port is open from the dispatcher's machine; test, then retry.",
        ),
    ),
    (
        r"rejected the association.*register our AE title",
        Cause(
            "calling-unknown",
            "association",
            "The target does not know us",
            "It accepts associations only from AE titles that are registered there, and ours is not.",
            "Have our calling AE title and address registered at the target, then retry.",
        ),
    ),
    (
        r"rejected the association.*correct the called AE title",
        Cause(
            "called-unknown",
            "association",
            "The target calls itself something else",
            "The called AE title in the target's settings is not the one that the target answers to.",
            "Correct the called AE title of the target, then retry.",
        ),
    ),
    (
        r"rejected the association",
        Cause(
            "rejected",
            "association",
            "The target rejected the association",
            "It answered A-ASSOCIATE-RJ; the reason is below. Often it has too many associations open at once.",
            "Lower the deliveries at once for this target, or look into its log; then retry.",
        ),
    ),
    (
        r"does not take SOP class",
        Cause(
            "not-supported",
            "association",
            "The target does not take this kind of image",
            "It accepted the association but not the SOP class in the transfer syntax of these instances.",
            "Enable the SOP class or transfer syntax at the target, or send these series elsewhere by rule.",
            helps=False,
        ),
    ),
    (
        r"aborted the association|connection was lost",
        Cause(
            "aborted",
            "transfer",
            "The connection ended in the middle",
            "The target aborted, or the network broke, while instances were sent. What it confirmed is not sent again.",
            "Look into the target's log for the time below; a retry sends only what is missing.",
        ),
    ),
    (
        r"did nothing for",
        Cause(
            "silent",
            "transfer",
            "The target does not answer in time",
            "It took the connection and then said nothing within the time limit: overloaded, hung, or very slow.",
            "Check the target's load; raise the time limit for an answer if it is just slow; then retry.",
        ),
    ),
    (
        r"broke the DICOM protocol",
        Cause(
            "protocol",
            "transfer",
            "The target does not speak DICOM properly",
            "Its answer is not allowed by the standard. Often the port belongs to another service.",
            "Check host and port of the target; test it; then retry.",
        ),
    ),
    (
        r"No space left|disk is full|ENOSPC",
        Cause(
            "no-space",
            "storage",
            "There is no space left at the target",
            "The folder's disk is full.",
            "Make space there, then retry.",
        ),
    ),
    (
        r"[Pp]ermission denied|not permitted|Read-only",
        Cause(
            "no-permission",
            "storage",
            "The target folder cannot be written",
            "The dispatcher's account may not write there.",
            "Give it the right to write, then retry.",
        ),
    ),
    (
        r"dispatchers in a row ended",
        Cause(
            "interrupted",
            "dispatcher",
            "Dispatchers ended while they worked on it",
            "Several processes ended in the middle of it without progress: something in it may bring them down.",
            "Look at the dispatcher's log around the times below before you retry.",
        ),
    ),
    (
        r"digest|damaged|no DICOM file|object .* is (gone|missing)",
        Cause(
            "damaged",
            "object store",
            "Stored objects are damaged or gone",
            "What lies in the object store is not what was received. It is never sent.",
            "Send the series to Hermes again from its source; check the object store's disk.",
            helps=False,
        ),
    ),
)
_STATUS: Final = re.compile(r"\b0x([0-9A-Fa-f]{4})\b")


@lru_cache(maxsize=8192)
def cause_of(reason: str) -> Cause:
    """Return the cause that a failed delivery's reason names."""
    for pattern, cause in _TABLE:
        if re.search(pattern, reason, re.DOTALL):
            return cause
    if (found := _STATUS.search(reason)) is not None:
        return _of_status(int(found[1], 16))
    return Cause(
        "other",
        "delivery",
        "Another reason",
        "The reason is below in the dispatcher's words.",
        "Open a delivery for its attempts; a retry sends only what is missing.",
    )


def _of_status(status: int) -> Cause:
    meaning = meaning_of(status)
    name = f"0x{status:04X}"
    helps = meaning.is_worth_retrying
    if meaning.category is StatusCategory.OUT_OF_RESOURCES:
        to_do = "Make space at the target, then retry."
    elif helps:
        to_do = "Look into the target's log for the cause, then retry."
    else:
        to_do = "Find out from the target's operator why it refuses; a retry alone will not help."
    return Cause(
        f"status-{status:04x}",
        "storing",
        f"The target answered {name}: {meaning.words}",
        "It took the instances over the network and then said that it does not keep them (DICOM PS3.4 B.2.3).",
        to_do,
        helps,
    )


CODE: Final = re.compile(r"[a-z0-9-]{1,40}")
"""What a code looks like."""
