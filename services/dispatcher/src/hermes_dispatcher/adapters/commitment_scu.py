"""Asks a DICOM target for storage commitment, over an association of its own (PS3.4 J.3.2)."""

from collections.abc import Callable
from dataclasses import dataclass

from hermes_common.dicom.commitment import CommitmentRequest
from hermes_common.runtime.dicom.commitment import CONTEXTS, CommitmentAssociation, Take
from hermes_common.runtime.dicom.errors import AssociationError, AssociationRejected, DicomNetworkError
from hermes_common.runtime.dicom.requestor import Timeouts
from hermes_common.runtime.sealing import Sealer, SealingError, opened
from hermes_common.targets import DicomTarget, at_endpoint
from hermes_dispatcher.adapters.targets.steps import TroubleError
from hermes_dispatcher.adapters.targets.tls import context_of
from hermes_dispatcher.core.committing import STEP, step_of


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The target did not take the request; the reason is for people."""

    reason: str
    is_unreachable: bool = False
    """Whether there was no association, or it broke: the target as a whole may be down, but for one that says it can
    take no more associations now."""


Ask = Callable[[DicomTarget, CommitmentRequest, Take], NotAsked | None]
"""Asks; for a thread. None when the target has taken the request."""


def asking(sealer: Sealer) -> Ask:
    """Return what asks a target as it is stored, its secrets sealed."""

    def ask(target: DicomTarget, request: CommitmentRequest, take: Take) -> NotAsked | None:
        try:
            plain = opened(target, sealer)
        except SealingError as error:
            return NotAsked(str(error))
        refusal = NotAsked("it has no endpoint")
        for endpoint in plain.all_endpoints():
            try:
                return _at(at_endpoint(plain, endpoint.name), request, take)
            except TroubleError as error:
                refusal = NotAsked(error.outcome.reason)
            except DicomNetworkError as error:
                is_full = isinstance(error, AssociationRejected) and error.is_transient
                refusal = NotAsked(str(error), isinstance(error, AssociationError) and not is_full)
        return refusal

    return ask


def _at(target: DicomTarget, request: CommitmentRequest, take: Take) -> NotAsked | None:
    step = step_of(target)
    limits = Timeouts(connect=min(target.connect_timeout, STEP), associate=step, send=step, response=step)
    tls = None if target.tls is None else context_of(target.tls)
    association = CommitmentAssociation.negotiate(
        target.calling_aet, target.called_aet, target.host, target.port, CONTEXTS, timeouts=limits, tls=tls
    )
    with association:
        answer = association.n_action(request, take)
        if answer.code != 0:
            return NotAsked(f"the target answered {answer.code:04X}H: {answer.words}")
        if target.commitment is not None:
            try:
                association.wait(target.commitment.stay, take)
            except AssociationError:
                return None  # it has taken the request, and may say the result on an association of its own
    return None
