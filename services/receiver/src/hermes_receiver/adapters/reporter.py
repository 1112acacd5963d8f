"""Storage commitment results over an association of our own: we request it, and take the SCP role (PS3.4 J.3.3)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from hermes_common.config import CommitmentAddress
from hermes_common.dicom.commitment import CommitmentResult, encode_result
from hermes_common.dicom.extended import Roles
from hermes_common.dicom.uids import COMMITMENT, COMMITMENT_INSTANCE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hermes_common.runtime.dicom.errors import DicomNetworkError
from hermes_common.runtime.dicom.plan import Timeouts
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_receiver.adapters.tls import CertificateError

_LIMIT: Final = timedelta(seconds=15)
_TIMEOUTS: Final = Timeouts(connect=_LIMIT, associate=_LIMIT, send=_LIMIT, response=2 * _LIMIT)
_SYNTAXES: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)


class NotReportedError(Exception):
    """The sender did not take the result; the message says why."""


class Reporter:
    """Gives results to those who asked."""

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        """``tls`` makes the context for addresses that want TLS; it may raise CertificateError."""
        self._tls = tls

    def __call__(self, address: CommitmentAddress, ours: str, theirs: str, result: CommitmentResult) -> None:
        """Give ``result`` to the application at ``address``; returns when it has acknowledged, within a minute or so.

        ``ours`` and ``theirs`` are the AE titles. Raises :class:`NotReportedError`.
        """
        data = {syntax: encode_result(result, syntax) for syntax in _SYNTAXES}
        contexts = [(COMMITMENT, syntax) for syntax in _SYNTAXES]
        roles = [Roles(COMMITMENT, scu=False, scp=True)]
        try:
            tls = self._tls() if address.tls else None
            with StorageAssociation.negotiate(
                ours, theirs, address.host, address.port, contexts, timeouts=_TIMEOUTS, roles=roles, tls=tls
            ) as association:
                answer = association.n_event_report(COMMITMENT, COMMITMENT_INSTANCE, result.event_type, data)
        except (DicomNetworkError, CertificateError, ValueError) as exc:
            raise NotReportedError(str(exc)) from exc
        if not answer.meaning.is_stored:
            raise NotReportedError(f"{theirs} answered {answer.status:04X}H {answer.comment}".rstrip())
