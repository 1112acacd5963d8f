"""A Storage SCP as a target: C-STORE of the bytes as they were received (PS3.4 B)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hermes_common.config import DicomTarget
from hermes_common.runtime.dicom.errors import Aborted, AssociationError, AssociationRejected, ContextRefused
from hermes_common.runtime.dicom.requestor import (
    FileSource,
    StorageAssociation,
    Timeouts,
    plan_associations,
)
from hermes_dispatcher.adapters.objects import Item, Prepared, Supply
from hermes_dispatcher.adapters.targets.interface import Permit, Report
from hermes_dispatcher.core.outcomes import NotDelivered, Outcome, Trouble, outcome_of

BUSY_IN_A_ROW: Final = 3
"""Answers of a target that it cannot now, one after the other, after which the attempt ends."""

_STEP: Final = timedelta(seconds=30)
"""Longest time limit of steps that have none of their own in the configuration."""


class DicomSender:
    """Sends over one association at a time, with one presentation context for each SOP class and transfer syntax.

    An association that is lost after it brought something, or that is aborted over one instance, is made again once
    within the attempt, with that instance last.
    """

    def __init__(self, target: DicomTarget) -> None:
        self._target = target
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

    def _associated(self, run: "_Run", contexts: list[tuple[str, str]], items: list[Item]) -> NotDelivered | None:
        target = self._target
        try:
            with StorageAssociation.negotiate(
                target.calling_aet, target.called_aet, target.host, target.port, contexts, timeouts=self._timeouts
            ) as association:
                run.permit.killed_by(association.kill)
                try:
                    return run.through(association, items)
                finally:
                    run.permit.killed_by(None)
        except AssociationRejected as error:
            return NotDelivered(Trouble.BUSY if error.is_transient else Trouble.REJECTED, str(error))
        except AssociationError as error:
            run.aborted = isinstance(error, Aborted)
            return NotDelivered(Trouble.UNREACHABLE, str(error))


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

    def through(self, association: StorageAssociation, items: list[Item]) -> NotDelivered | None:
        busy = 0
        stream = self.supply(items)
        try:
            for item, prepared in stream:
                try:
                    if not self.permit.may_send:
                        return None
                    outcome = self._one(association, item, prepared)
                finally:
                    if isinstance(prepared, Prepared):
                        prepared.close()
                busy = busy + 1 if isinstance(outcome, NotDelivered) and outcome.trouble is Trouble.BUSY else 0
                if busy >= BUSY_IN_A_ROW and isinstance(outcome, NotDelivered):
                    return outcome
        finally:
            stream.close()
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
    source = prepared.data if prepared.file is None else FileSource(prepared.file)
    try:
        answer = association.c_store(
            instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid, source
        )
    except ContextRefused as error:
        return NotDelivered(Trouble.REFUSED, str(error))
    return outcome_of(answer.meaning, answer.comment)


def _context(item: Item) -> tuple[str, str]:
    return item.instance.sop_class_uid, item.instance.transfer_syntax_uid
