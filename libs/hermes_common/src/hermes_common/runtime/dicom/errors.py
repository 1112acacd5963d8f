"""What can go wrong on the way to a DICOM peer, in words that say what to do.

    DicomNetworkError
    +-- AssociationError          nothing can be sent on this association any more
    |   +-- Unreachable               no connection: name, route, port, firewall, TLS
    |   +-- AssociationRejected       the peer answered A-ASSOCIATE-RJ
    |   +-- Aborted                   the peer sent A-ABORT, or the connection broke
    |   +-- PeerSilent                the peer did not answer, or stopped reading, within the time limit
    |   +-- ProtocolViolation         the peer answered something that DICOM does not allow
    +-- InstanceError             this instance cannot be sent; the association is as good as before
        +-- ContextRefused            the peer does not take this SOP class in this transfer syntax

After an :class:`AssociationError` the outcome of an instance in flight is unknown: send it again.
"""

# ruff: noqa: N818 - errors are named after the situation, not after the word "error"

from __future__ import annotations

from hermes_common.dicom.pdu import RejectResult, rejection_words


class DicomNetworkError(Exception):
    """Base; ``str()`` is for an operator."""


class AssociationError(DicomNetworkError):
    """The association is of no more use; ``is_transient`` says whether trying again without a person makes sense."""

    is_transient = True


class Unreachable(AssociationError):
    """No connection to ``host``:``port``."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot reach {host}:{port}: {reason}; "
            "check the address, the port, the firewall, and whether the peer is running"
        )
        self.host, self.port, self.reason = host, port, reason


class AssociationRejected(AssociationError):
    """The peer refused the association (PS3.8 table 9-21)."""

    def __init__(self, result: int, source: int, reason: int, calling_aet: str, called_aet: str) -> None:
        self.result, self.source, self.reason = result, source, reason
        self.words = rejection_words(source, reason)
        self.is_transient = result != RejectResult.PERMANENT
        super().__init__(f"the peer rejected the association: {self.words}; {self._advice(calling_aet, called_aet)}")

    def _advice(self, calling_aet: str, called_aet: str) -> str:
        match (self.source, self.reason):
            case (1, 3):
                return f"register our AE title {calling_aet!r} (and perhaps our address) at the peer"
            case (1, 7):
                return f"the peer does not call itself {called_aet!r}: correct the called AE title"
            case (3, 1 | 2):
                return "it will be tried again; if it persists, lower the number of parallel associations"
            case _:
                return "see the peer's log for the cause"


class Aborted(AssociationError):
    """The peer aborted, or the connection broke."""

    def __init__(self, reason: str, step: str, *, by_peer: bool) -> None:
        what = "the peer aborted the association" if by_peer else "the connection was lost"
        super().__init__(f"{what} while {step}: {reason}; see the peer's log, it will be tried again")
        self.reason, self.step, self.by_peer = reason, step, by_peer


class PeerSilent(AssociationError):
    """A time limit passed while ``step``."""

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(
            f"the peer did nothing for {seconds:g} s while {step}; "
            "it may be overloaded or hung: check it, or raise the time limit"
        )
        self.step, self.seconds = step, seconds


class ProtocolViolation(AssociationError):
    """The peer sent something that PS3.7 or PS3.8 does not allow here."""

    def __init__(self, reason: str, step: str) -> None:
        super().__init__(f"the peer broke the DICOM protocol while {step}: {reason}; is this port a DICOM service?")
        self.reason, self.step = reason, step


class InstanceError(DicomNetworkError):
    """One instance cannot be sent; the others can."""


class ContextRefused(InstanceError):
    """The peer does not accept ``sop_class`` in ``transfer_syntax``; ``reason`` is its answer. Sending again does not
    help.
    """

    def __init__(self, sop_class: str, transfer_syntax: str, reason: str) -> None:
        super().__init__(
            f"the peer does not take SOP class {sop_class} in transfer syntax {transfer_syntax} ({reason}); "
            "enable it at the peer, or send these instances elsewhere"
        )
        self.sop_class, self.transfer_syntax, self.reason = sop_class, transfer_syntax, reason
