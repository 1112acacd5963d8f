"""A Storage SCP as a target: C-STORE of the bytes as they were received (PS3.4 B)."""

import ssl
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hermes_common.dicom.status import StatusMeaning
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.dicom.errors import Aborted, AssociationError, AssociationRejected, ContextRefused
from hermes_common.runtime.dicom.requestor import (
    Context,
    FileSource,
    Source,
    StorageAssociation,
    Timeouts,
    plan_associations,
)
from hermes_common.targets import DicomTarget
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.adapters.targets.steps import StepFailedError, Steps, TroubleError, reach
from hermes_dispatcher.adapters.targets.tls import context_of
from hermes_dispatcher.core.outcomes import NotDelivered, Outcome, Trouble, outcome_of

BUSY_IN_A_ROW: Final = 3
"""Answers of a target that it cannot now, one after the other, after which the attempt ends."""

SAMPLES: Final = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.6.1": "US",
    "1.2.840.10008.5.1.4.1.1.7": "SC",
    "1.2.840.10008.5.1.4.1.1.12.1": "XA",
}
"""Storage SOP classes that a test asks for: many targets have no verification, and these say more anyway."""

_FAREWELL: Final = timedelta(seconds=2)
_STEP: Final = timedelta(seconds=30)
"""Longest time limit of steps that have none of their own in the configuration."""


class DicomSender:
    """Sends over one association at a time, with one presentation context for each SOP class and transfer syntax.

    Where the sender's AE title is passed on, an association serves the instances of one sender.

    An association that is lost after it brought something, or that is aborted over one instance, is made again once
    within the attempt, with that instance last.
    """

    def __init__(self, target: DicomTarget) -> None:
        self._target = target
        self._own = target.calling_aet
        step = min(target.response_timeout, _STEP)
        self._timeouts = Timeouts(
            connect=target.connect_timeout, associate=step, send=step, response=target.response_timeout
        )

    def send(self, items: Sequence[Item], supply: Supply, report: Report, permit: Permit) -> NotDelivered | None:
        """Send them; see :class:`~hermes_dispatcher.adapters.targets.interface.Sender`."""
        spare = 1
        for contexts in plan_associations(_context(item) for item in items):
            left = [item for item in items if _context(item) in set(contexts)]
            while left and permit.may_send:
                run = _Run(supply, report, permit)
                trouble = self._associated(run, contexts, left)
                left = run.without_tried(left)
                if trouble is None:
                    continue
                if trouble.trouble is not Trouble.UNREACHABLE or not run.may_go_on or not spare:
                    return trouble
                spare -= 1
        return None

    def _associated(self, run: "_Run", contexts: list[Context], items: list[Item]) -> NotDelivered | None:
        stream = run.supply(items)
        try:
            first = run.first(stream)
            if first is None:
                return None
            try:
                return self._over_one(run, contexts, first, stream)
            finally:
                first[1].close()
        except AssociationRejected as error:
            return NotDelivered(Trouble.BUSY if error.is_transient else Trouble.REJECTED, str(error))
        except AssociationError as error:
            run.aborted = isinstance(error, Aborted)
            return NotDelivered(Trouble.UNREACHABLE, str(error))
        except TroubleError as error:
            return error.outcome
        finally:
            stream.close()

    def _over_one(self, run: "_Run", contexts: list[Context], first: "_Pair", stream: "_Stream") -> NotDelivered | None:
        target, calling = self._target, self._calling(first[1])
        with StorageAssociation.negotiate(
            calling,
            target.called_aet,
            target.host,
            target.port,
            contexts,
            timeouts=self._timeouts,
            tls=self._tls(),
            max_send=target.max_pdu,
        ) as association:
            run.permit.killed_by(association.kill)
            try:
                return run.through(association, first, stream, lambda prepared: self._calling(prepared) == calling)
            finally:
                run.permit.killed_by(None)

    def _calling(self, prepared: Prepared) -> str:
        """Return the AE title under which an instance is sent."""
        passed = prepared.meta.sending_aet.strip() if self._target.pass_calling_aet else ""
        return passed if passed and passed.isascii() and passed.isprintable() and "\\" not in passed else self._own

    def _tls(self) -> ssl.SSLContext | None:
        return None if self._target.tls is None else context_of(self._target.tls)

    def test(self, steps: Steps) -> None:
        """Resolve, connect, TLS, associate, C-ECHO, release. A target without verification passes by associating."""
        target, limit = self._target, steps.limit
        try:
            tls = self._tls()
        except TroubleError as error:
            steps.take("TLS settings", _raising(error), lambda _: "")
            return
        sock = reach(steps, target.host, target.port, tls)
        limits = Timeouts(connect=limit, associate=limit, send=limit, response=limit, release=min(limit, _FAREWELL))
        association = steps.take(
            "association",
            lambda: StorageAssociation.negotiate(
                target.calling_aet,
                target.called_aet,
                target.host,
                target.port,
                [(VERIFICATION, IMPLICIT_LITTLE), *((uid, EXPLICIT_LITTLE) for uid in SAMPLES)],
                timeouts=limits,
                sock=sock,
            ),
            self._negotiated,
        )
        if association.accepts(VERIFICATION, IMPLICIT_LITTLE):
            try:
                steps.take("C-ECHO", lambda: _echo(association), lambda found: f"answered {found.code:04X}H")
            except StepFailedError:
                association.abort()
                raise
        steps.take("release", association.release, lambda _: "")

    def _negotiated(self, association: StorageAssociation) -> str:
        peer = association.peer
        takes = [name for uid, name in SAMPLES.items() if association.accepts(uid, EXPLICIT_LITTLE)]
        verifies = "accepted" if association.accepts(VERIFICATION, IMPLICIT_LITTLE) else "not offered by the target"
        size = f"PDUs of up to {peer.max_length} octets" if peer.max_length else "PDUs of any size"
        words = f"{self._target.calling_aet} calls {self._target.called_aet}; {size}; verification {verifies}"
        words += f"; of the common storage classes it takes {', '.join(takes) if takes else 'none'} (Explicit VR)"
        return words + (f"; it is {peer.implementation_version}" if peer.implementation_version else "")


def _raising(error: TroubleError) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def _echo(association: StorageAssociation) -> StatusMeaning:
    meaning = association.c_echo()
    if meaning.code != 0:
        raise TroubleError(Trouble.BUSY, f"answered {meaning.code:04X}H: {meaning.words}")
    return meaning


_Pair = tuple[Item, Prepared]
_Stream = Generator[tuple[Item, Prepared | NotDelivered], None, None]


@dataclass(slots=True)
class _Run:
    """What one association brings."""

    supply: Supply
    report: Report
    permit: Permit
    tried: set[int] = field(default_factory=set)
    """Positions that have an outcome. The one under way when an association is lost has none: nobody knows it."""
    stored: int = 0
    under_way: int | None = None
    """Position of the instance that was being sent when the association was lost."""
    aborted: bool = False

    @property
    def may_go_on(self) -> bool:
        """Whether another association may bring more: this one did, or a single instance may have ended it."""
        return self.stored > 0 or (self.aborted and self.under_way is not None)

    def without_tried(self, items: list[Item]) -> list[Item]:
        """Return the items without outcome; the one that was under way comes last: the target may choke on it."""
        left = [item for item in items if item.position not in self.tried]
        return sorted(left, key=lambda item: item.position == self.under_way)

    def first(self, stream: "_Stream") -> "_Pair | None":
        """Return the first instance that can be sent; those before it are reported."""
        for item, prepared in stream:
            if isinstance(prepared, Prepared):
                return item, prepared
            self.tried.add(item.position)
            self.report(item, prepared, 0)
        return None

    def through(
        self, association: StorageAssociation, first: "_Pair", stream: "_Stream", belongs: Callable[[Prepared], bool]
    ) -> NotDelivered | None:
        """Send the first and what follows, up to one that belongs to another association."""
        busy = 0
        upcoming: tuple[Item, Prepared | NotDelivered] | None = first
        while upcoming is not None:
            item, prepared = upcoming
            try:
                if not self.permit.may_send or (isinstance(prepared, Prepared) and not belongs(prepared)):
                    return None
                outcome = self._one(association, item, prepared)
            finally:
                if isinstance(prepared, Prepared):
                    prepared.close()
            busy = busy + 1 if isinstance(outcome, NotDelivered) and outcome.trouble is Trouble.BUSY else 0
            if busy >= BUSY_IN_A_ROW and isinstance(outcome, NotDelivered):
                return outcome
            upcoming = next(stream, None)
        return None

    def _one(self, association: StorageAssociation, item: Item, prepared: Prepared | NotDelivered) -> Outcome:
        octets = 0
        if isinstance(prepared, NotDelivered):
            outcome: Outcome = prepared
        else:
            octets = prepared.octets
            self.under_way = item.position
            outcome = _store(association, item, prepared)
            self.under_way = None
        self.tried.add(item.position)
        self.stored += not isinstance(outcome, NotDelivered)
        self.report(item, outcome, octets)
        return outcome


def _store(association: StorageAssociation, item: Item, prepared: Prepared) -> Outcome:
    instance = item.instance
    source: Source = prepared.data if prepared.file is None else FileSource(prepared.file)
    if prepared.pace is not None:
        source = prepared.chunks()
    try:
        answer = association.c_store(
            instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid, source
        )
    except ContextRefused as error:
        return NotDelivered(Trouble.REFUSED, str(error))
    return outcome_of(answer.meaning, answer.comment)


def _context(item: Item) -> Context:
    return item.instance.sop_class_uid, item.instance.transfer_syntax_uid
