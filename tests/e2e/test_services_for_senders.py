"""What senders get besides C-STORE, on the whole router: STOW-RS, storage commitment, a second look at quarantine."""

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from harness import Hermes, Series, StoreScp, make_series, rule, storescu, target, until
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityPerformedProcedureStep, StorageCommitmentPushModel

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.timeout(180)]


def sender_token(hermes: Hermes) -> str:
    with hermes.api() as api:
        return str(api.post("/tokens", {"name": "gateway", "role": "sender"})["token"])


def test_a_series_sent_over_stow_rs_is_in_the_history_with_its_sender(hermes: Hermes, tmp_path: Path) -> None:
    series = make_series(tmp_path / "series", 3)
    client = DICOMwebClient(hermes.url + "/dicom-web", headers={"Authorization": f"Bearer {sender_token(hermes)}"})
    answer = client.store_instances(
        [pydicom.dcmread(file) for file in series.files], study_instance_uid=series.study_uid
    )
    assert len(answer.ReferencedSOPSequence) == 3
    with hermes.api() as api:
        found = until("the series", lambda: [s for s in api.get("/series")["items"] if s["series_uid"] == series.uid])
        assert found[0]["calling_aet"] == "gateway"
        seen = until(
            "the sender", lambda: [s for s in api.get("/sources/seen")["items"] if s["calling_aet"] == "gateway"]
        )
        assert seen[0]["allowed"]
        ended = until(
            "the request", lambda: [a for a in api.get("/associations")["items"] if a["calling_aet"] == "gateway"]
        )
        assert ended[0]["state"] in ("opened", "closed")


def test_storage_commitment_is_answered_on_the_same_association(hermes: Hermes, peer, tmp_path: Path) -> None:
    series = make_series(tmp_path / "series", 5)
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    results: list[Dataset] = []
    arrived = threading.Event()

    def on_report(event: evt.Event) -> tuple[int, None]:
        results.append(event.event_information)
        arrived.set()
        return 0x0000, None

    request = Dataset()
    request.TransactionUID = generate_uid()
    request.ReferencedSOPSequence = []
    for file in series.files:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    ae = AE(ae_title="MODALITY")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate("127.0.0.1", hermes.dicom_port, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)])
    answer, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
    assert answer.Status == 0
    assert arrived.wait(60)
    association.release()
    assert len(results[0].ReferencedSOPSequence) == 5
    assert "FailedSOPSequence" not in results[0]


def begun(study_uid: str) -> Dataset:
    """Return what a modality says when it begins a procedure step."""
    step, scheduled = Dataset(), Dataset()
    scheduled.StudyInstanceUID = study_uid
    step.ScheduledStepAttributesSequence = [scheduled]
    step.Modality, step.PerformedStationAETitle, step.PerformedProcedureStepID = "CT", "MODALITY", "1"
    step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = "20260102", "101500"
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    return step


def ended(series: Series) -> Dataset:
    """Return what it says when the step is over and has made a series."""
    step, performed = Dataset(), Dataset()
    performed.SeriesInstanceUID, performed.ProtocolName, performed.ReferencedImageSequence = series.uid, "HEAD", []
    for file in series.files:
        dataset, image = pydicom.dcmread(file, stop_before_pixels=True), Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        performed.ReferencedImageSequence.append(image)
    step.PerformedSeriesSequence = [performed]
    step.PerformedProcedureStepStatus = "COMPLETED"
    return step


def test_a_completed_procedure_step_ends_the_wait_for_its_series_and_its_study(
    hermes: Hermes, peer: Callable[[str, str], str], storescp: Callable[[str], StoreScp], tmp_path: Path
) -> None:
    scp = storescp("store")
    rules = [rule("steps", 'StationName == "STEPS"', "store")]  # and nothing that other tests have sent before
    hermes.configure([target("store", scp.port)], rules, quiet="15m")
    series, step = make_series(tmp_path / "series", 3, StationName="STEPS"), generate_uid()
    ae = AE(ae_title="MODALITY")
    ae.add_requested_context(ModalityPerformedProcedureStep)
    association = ae.associate("127.0.0.1", hermes.dicom_port)
    assert association.send_n_create(begun(series.study_uid), ModalityPerformedProcedureStep, step)[0].Status == 0
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    assert association.send_n_set(ended(series), ModalityPerformedProcedureStep, step)[0].Status == 0
    association.release()
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    assert scp.digests() == sorted(series.digests().values())
    why = "MPPS: the procedure step is completed and all 3 instances that it names are there"
    found = hermes.series(series.uid)
    assert found is not None
    assert [batch["shortened_by"] for batch in found["batch_list"]] == [why]
    with hermes.api() as api:
        study = until("the study", lambda: (known := api.get(f"/studies/{series.study_uid}"))["decisions"] and known)
    assert "MPPS: its procedure steps are completed" in study["decisions"][0]["reason"]


def test_what_is_in_quarantine_is_read_and_received_again_through_the_api(hermes: Hermes, tmp_path: Path) -> None:
    series = make_series(tmp_path / "series", 1)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + series.files[0].read_bytes() + b"\r\n--x--"
    headers = {
        "Authorization": f"Bearer {sender_token(hermes)}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
    }
    refused = httpx.post(hermes.url + "/dicom-web/studies/1.2.3", content=body, headers=headers, trust_env=False)
    assert refused.status_code == 409
    with hermes.api() as api:
        kept = until(
            "in quarantine",
            lambda: [q for q in api.get("/quarantine")["items"] if q["sop_instance_uid"] == f"{series.uid}.1"],
        )[0]["reception_id"]
        admin = {"Authorization": f"Bearer {hermes.variables['HERMES_ADMIN_TOKEN']}"}
        where = f"{hermes.url}/api/v1/quarantine/{kept}"
        content = httpx.get(where + "/content", headers=admin, trust_env=False)
        assert content.status_code == 200
        assert content.content.endswith(series.files[0].read_bytes()[-1000:])
        again = httpx.post(where + "/resubmit", headers=admin, trust_env=False)
        assert (again.status_code, again.json()["stored"]) == (200, True)
        until("the series", lambda: [s for s in api.get("/series")["items"] if s["series_uid"] == series.uid])
