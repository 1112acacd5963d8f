"""One series, all the way, with peers of other projects."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Hermes, StoreScp, free_port, make_series, rule, storescu, target, until

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.timeout(180)]

Peer = Callable[[str, str], str]
Scp = Callable[[str], StoreScp]


def test_a_series_from_storescu_arrives_at_storescp_bit_by_bit_and_its_history_says_why(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("pacs")
    (tmp_path / "files").mkdir()
    hermes.configure(
        [
            target("pacs", scp.port),
            {"kind": "folder", "slug": "files", "name": "files", "path": str(tmp_path / "files")},
        ],
        [
            rule("ct", 'Modality == "CT" and source.aet == "MODALITY"', "pacs", "files"),
            rule("mr", 'Modality == "MR"', "pacs"),
        ],
    )
    series = make_series(
        tmp_path / "series", 12, PatientName="Yamada^Tarou=山田^太郎", SpecificCharacterSet="ISO_IR 192"
    )
    sent = storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)
    assert sent.returncode == 0, sent.stderr
    history = until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    assert scp.digests() == sorted(series.digests().values())
    written = sorted((tmp_path / "files" / series.study_uid / series.uid).iterdir())
    assert len(written) == 12
    assert history["instances"] == 12
    assert history["modality"] == "CT"
    assert history["patient_name"] == "Yamada^Tarou=山田^太郎"
    [decision] = history["decisions"]
    assert decision["outcome"] == "routed"
    [ct, mr] = decision["rules"]
    assert (ct["status"], mr["status"]) == ("fired", "not_matched")
    assert [(clause["outcome"], clause["seen"]) for clause in ct["clauses"]] == [
        ("true", ["CT"]),
        ("true", ["MODALITY"]),
    ]
    assert mr["clauses"][0]["seen"] == ["CT"]
    for delivery in history["deliveries"]:
        with hermes.api() as api:
            detail = api.get(f"/deliveries/{delivery['delivery_id']}")
        assert (detail["state"], detail["delivered"], detail["unsent"]) == ("succeeded", 12, 0)
        assert {outcome["result"] for outcome in detail["outcomes"]} == {"delivered"}
    with hermes.api() as api:
        timeline = api.get(f"/series/{series.uid}/timeline")["items"]
    assert [entry["at"] for entry in timeline] == sorted(entry["at"] for entry in timeline)
    assert len(timeline) >= 5


def test_the_same_files_sent_again_are_counted_as_duplicates_and_not_delivered_again(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("pacs")
    hermes.configure([target("pacs", scp.port)], [rule("ct", 'Modality == "CT"', "pacs")])
    series = make_series(tmp_path / "series", 3)
    for _ in range(2):
        assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
        until("delivered", lambda: hermes.reached(series.uid, "delivered"))
        time.sleep(2)
    history = until("counted", lambda: (found := hermes.series(series.uid)) and found["duplicates"] == 3 and found)
    assert history["instances"] == 3
    assert history["state"] == "delivered"
    assert len(scp.received()) == 3


def test_a_series_that_no_rule_matches_is_kept_and_recovered_by_hand(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("pacs")
    hermes.configure([target("pacs", scp.port)], [rule("mr", 'Modality == "MR"', "pacs")])
    series = make_series(tmp_path / "series", 2)
    storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)
    history = until("unmatched", lambda: hermes.reached(series.uid, "unmatched"))
    assert history["decisions"][0]["rules"][0]["clauses"][0]["outcome"] == "false"
    with hermes.api() as api:
        api.post(f"/series/{series.uid}/route", {"targets": ["pacs"], "reason": "wanted after all"})
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    assert scp.digests() == sorted(series.digests().values())


def test_a_target_that_is_down_delays_nobody_is_noticed_once_and_gets_everything_when_it_is_back(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    good, bad = storescp("good"), storescp("bad")
    bad.stop()
    hermes.configure(
        [target("good", good.port), target("bad", bad.port)], [rule("ct", 'Modality == "CT"', "good", "bad")]
    )
    series = make_series(tmp_path / "series", 5)
    storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)
    until("the good one has it", lambda: len(good.received()) == 5, 15)

    def alerts(is_cleared: bool) -> list[dict[str, Any]]:
        with hermes.api() as api:
            found = api.get("/alerts")["items"]
        return [each for each in found if each["about"] == "bad" and bool(each["cleared_at"]) is is_cleared]

    [alert] = until("an alert", lambda: alerts(False))
    assert alert["kind"] == "target_down"
    with hermes.api() as api:
        states = {item["target"]: item for item in api.get("/targets/states")["items"]}
        assert (states["good"]["state"], states["bad"]["state"]) == ("up", "down")
        tested = api.post("/targets/bad/test")
        assert "refused" in tested["steps"][-1]["detail"]
    history = hermes.series(series.uid)
    assert history is not None
    waiting = {delivery["target"]: delivery for delivery in history["deliveries"]}["bad"]
    assert (waiting["state"], waiting["delivered"]) == ("queued", 0)
    assert "the target is down" in waiting["reason"]
    bad.start()
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    assert bad.digests() == sorted(series.digests().values())
    assert len(good.received()) == 5
    assert until("the alert is over", lambda: alerts(True))[0]["alert_id"] == alert["alert_id"]


def test_a_delivered_series_is_deleted_when_its_retention_has_passed(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("pacs")
    hermes.configure([target("pacs", scp.port)], [rule("ct", 'Modality == "CT"', "pacs")], delivered="1d")
    series = make_series(tmp_path / "series", 4)
    storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))

    def planned() -> list[dict[str, Any]]:
        with hermes.api() as api:
            plan = api.get("/storage/plan", limit=1000)
        return [each for each in plan["soonest"] if each["series_uid"] == series.uid]

    [planned_for] = until("planned", planned)
    assert (planned_for["why"], planned_for["instances"]) == ("the retention of delivered series, 1d", 4)
    quiet = {"quiet_period": "1s", "study": {"quiet_period": "1s"}}
    hermes.save("policies", {"completion": quiet, "retention": {"delivered": "10s"}})
    history = until("deleted", lambda: hermes.reached(series.uid, "deleted"))
    assert history["deleted_at"]
    assert len(scp.received()) == 4
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0
    until("a series that comes again is routed again", lambda: len(scp.received()) == 8)


def test_what_cannot_be_read_is_refused_and_kept_aside_with_the_reason(
    hermes: Hermes, peer: Peer, tmp_path: Path
) -> None:
    series = make_series(tmp_path / "series", 1, SeriesInstanceUID="")
    sent = storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)
    assert sent.returncode != 0 or "0xc" in (sent.stdout + sent.stderr).lower()
    with hermes.api() as api:
        found = until(
            "in quarantine",
            lambda: [each for each in api.get("/quarantine")["items"] if each["sop_instance_uid"] == f"{series.uid}.1"],
        )
    assert "SeriesInstanceUID" in found[0]["reason"]
    assert found[0]["status"] >= 0xC000


def test_orthanc_as_the_target_has_every_instance(hermes: Hermes, peer: Peer, tmp_path: Path) -> None:
    import httpx

    dicom, web = free_port(), free_port()
    configuration = tmp_path / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "StorageDirectory": str(tmp_path / "orthanc"),
                "IndexDirectory": str(tmp_path / "orthanc"),
                "DicomPort": dicom,
                "DicomAet": "ORTHANC",
                "HttpPort": web,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "Plugins": [],
            }
        )
    )
    with subprocess.Popen(
        [peer("Orthanc", "orthanc"), str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as orthanc:
        try:
            until("Orthanc answers", lambda: _answers(f"http://127.0.0.1:{web}/system"))
            hermes.configure(
                [target("orthanc", dicom, called_aet="ORTHANC")], [rule("ct", 'Modality == "CT"', "orthanc")]
            )
            series = make_series(tmp_path / "series", 20)
            storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)
            until("delivered", lambda: hermes.reached(series.uid, "delivered"))
            [uid] = httpx.get(f"http://127.0.0.1:{web}/series").json()
            found = httpx.get(f"http://127.0.0.1:{web}/series/{uid}").json()
            assert found["MainDicomTags"]["SeriesInstanceUID"] == series.uid
            assert len(found["Instances"]) == 20
        finally:
            orthanc.terminate()
            orthanc.wait(20)


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_an_attribute_that_is_added_to_the_policies_is_seen_by_the_rules_without_a_restart(
    hermes: Hermes, peer: Peer, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    folder = {"kind": "folder", "slug": "files", "name": "files", "path": str(tmp_path / "files")}
    hermes.configure([folder], [rule("second-echo", "EchoNumbers == 2", "files")])
    before = make_series(tmp_path / "before", 1, EchoNumbers=2)
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, before.files).returncode == 0
    history = until("decided", lambda: hermes.reached(before.uid, "unmatched"))
    [clause] = history["decisions"][0]["rules"][0]["clauses"]
    assert (clause["outcome"], clause["reason"]) == ("unknown", "EchoNumbers is absent")
    hermes.save("policies", {"completion": {"quiet_period": "1s"}, "extra_tags": ["EchoNumbers"]})
    time.sleep(1)  # a change is promised to apply within a second
    after = make_series(tmp_path / "after", 1, EchoNumbers=2)
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, after.files).returncode == 0
    history = until("delivered", lambda: hermes.reached(after.uid, "delivered"))
    assert history["decisions"][0]["rules"][0]["clauses"][0]["seen"] == ["2"]
