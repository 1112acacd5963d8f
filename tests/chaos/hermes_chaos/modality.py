"""A modality that says what it performs (MPPS, PS3.4 F.7), and takes down what was answered with Success."""

from collections.abc import Callable

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from hermes_chaos.books import SUCCESS, Ledger
from hermes_chaos.sender import ROOT

DUPLICATE = 0x0111
"""There is such a step already: an N-CREATE that was not answered had been kept all the same."""


class Modality:
    """To be used in one thread. ``port`` returns the port of the router."""

    def __init__(self, port: Callable[[], int], ledger: Ledger, run: int) -> None:
        self._port = port
        self._ledger = ledger
        self._run = run
        self._number = 0
        self._left: tuple[str, str] | None = None
        """Step and study that broke off: to be said again first."""

    def perform(self) -> None:
        """Begin a step and complete it, or go on with the one that broke off."""
        if self._left is None:
            self._number += 1
            study = f"{ROOT}.{self._run}.9.{self._number}"
            self._left = (f"{study}.9", study)
        step, study = self._left
        entity = AE("MODALITY")
        entity.connection_timeout, entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = 2, 5, 6, 6
        entity.add_requested_context(ModalityPerformedProcedureStep)
        association = entity.associate("127.0.0.1", self._port(), ae_title="HERMES")
        if not association.is_established:
            return
        try:
            answer, _ = association.send_n_create(_begun(study), ModalityPerformedProcedureStep, step)
            if not self._heard(step, "created", answer) and answer.get("Status") != DUPLICATE:
                return
            answer, _ = association.send_n_set(_ended(study), ModalityPerformedProcedureStep, step)
            if self._heard(step, "set", answer) or "Status" in answer:
                self._left = None
            association.release()
        except (RuntimeError, ValueError, OSError):  # the association has ended
            return

    def _heard(self, step: str, verb: str, answer: Dataset) -> bool:
        if answer.get("Status") != SUCCESS:
            return False
        self._ledger.acknowledge_step(step, verb)
        return True


def _begun(study: str) -> Dataset:
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study
    step = Dataset()
    step.Modality, step.PerformedStationAETitle, step.PerformedProcedureStepID = "CT", "MODALITY", "1"
    step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = "20260102", "101500"
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PerformedSeriesSequence = []
    return step


def _ended(study: str) -> Dataset:
    series, step = Dataset(), Dataset()
    series.SeriesInstanceUID = f"{study}.1"
    series.ReferencedImageSequence = []
    step.PerformedProcedureStepStatus = "COMPLETED"
    step.PerformedSeriesSequence = [series]
    return step
