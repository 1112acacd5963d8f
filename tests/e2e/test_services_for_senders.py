"""What senders get besides C-STORE, on the whole router: STOW-RS, storage commitment, a second look at quarantine."""

import threading
from pathlib import Path

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from harness import Hermes, make_series, storescu, until
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

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
