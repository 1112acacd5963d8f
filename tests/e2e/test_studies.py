"""A study of two series, all the way: decided as a whole, sent once, and completed by a person when it is held."""

from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Hermes, Series, StoreScp, make_series, rule, storescu, target, until

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.timeout(180)]

Peer = Callable[[str, str], str]
Scp = Callable[[str], StoreScp]


def send(hermes: Hermes, peer: Peer, series: Series) -> None:
    assert storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files).returncode == 0


def hold_until_complete(hermes: Hermes, condition: dict[str, object], max_wait: str) -> None:
    study = {"quiet_period": "1s", "max_wait": max_wait, "then": "hold", "conditions": [condition]}
    hermes.save("policies", {"completion": {"quiet_period": "1s", "study": study}})


def test_a_study_is_sent_as_a_whole_to_the_target_of_a_study_rule(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    ai, pacs = storescp("reading"), storescp("store")
    ours = 'StudyDescription == "whole"'  # studies of other tests may still be open
    both = f'{ours} and any series (Modality == "CT") and any series (Modality == "MR")'
    hermes.configure(
        [target("reading", ai.port), target("store", pacs.port)],
        [rule("ct", f'Modality == "CT" and {ours}', "store"), rule("both", both, "reading", "store", scope="study")],
    )
    condition = {"name": "two", "series": 2}
    hold_until_complete(hermes, condition, "30m")
    ct = make_series(tmp_path / "ct", 3, StudyDescription="whole")
    mr = make_series(tmp_path / "mr", 2, Modality="MR", StudyInstanceUID=ct.study_uid, StudyDescription="whole")
    send(hermes, peer, mr)
    until("deferred", lambda: hermes.reached(mr.uid, "completed"))
    with hermes.api() as api:
        study = until("waiting", lambda: (found := api.get(f"/studies/{ct.study_uid}"))["waits_for"] and found)
    assert study["state"] == "open"
    assert ai.received() == []
    send(hermes, peer, ct)
    for uid in (ct.uid, mr.uid):
        until("delivered", lambda uid=uid: hermes.reached(uid, "delivered"))
        until("decided", lambda uid=uid: "study" in [each["kind"] for each in hermes.series(uid)["decisions"]])
        until("delivered", lambda uid=uid: hermes.reached(uid, "delivered"))
    whole = sorted([*ct.digests().values(), *mr.digests().values()])
    assert until("at the study's target", lambda: ai.digests() == whole)
    assert pacs.digests() == whole, "what the series rule had sent was not sent again"
    with hermes.api() as api:
        found = until("recorded", lambda: (study := api.get(f"/studies/{ct.study_uid}"))["decisions"] and study)
    assert (found["state"], found["round"]) == ("complete", 1)
    assert found["decisions"][0]["targets"] == ["reading", "store"]


def test_a_study_that_is_held_is_shown_and_goes_on_when_a_person_completes_it(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("store")
    hermes.configure([target("store", scp.port)], [rule("all", "study.series >= 1", "store", scope="study")])
    hold_until_complete(hermes, {"name": "three", "series": 3}, "3s")
    series = make_series(tmp_path / "series", 2)
    send(hermes, peer, series)
    with hermes.api() as api:
        path = f"/studies/{series.study_uid}"
        until("received", lambda: hermes.reached(series.uid, "completed"))
        held = until("held", lambda: (found := api.get(path))["state"] == "held" and found)
        assert "three: 1 of 3 series are there" in held["waits_for"]
        assert until("alert", lambda: [a for a in api.get("/alerts")["items"] if a["about"] == series.study_uid])
        assert hermes.reached(series.uid, "completed"), "not unmatched, and nothing is lost"
        api.post(f"{path}/complete", {"reason": "no more comes"})
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    assert scp.digests() == sorted(series.digests().values())


def test_a_target_that_is_missing_fails_visibly_and_a_restart_delivers_when_it_is_configured_again(
    hermes: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("store")
    scp.stop()
    patient = {"max_attempts": 50, "delay": "1s", "factor": 1, "max_delay": "1s"}
    pacs = target("store", scp.port, retry=patient)
    hermes.configure([pacs], [rule("all", "study.series >= 1", "store", scope="study")])
    series = make_series(tmp_path / "series", 2)
    send(hermes, peer, series)
    until("routed", lambda: hermes.reached(series.uid, "routed"))
    hermes.save("rules", {"rules": []})
    hermes.save("targets", {"targets": []})
    history = until("failed", lambda: hermes.reached(series.uid, "failed"))
    [delivery] = history["deliveries"]
    assert delivery["reason"] == "target store is not configured"
    hermes.save("targets", {"targets": [pacs]})
    scp.start()
    with hermes.api() as api:
        api.post(f"/deliveries/{delivery['delivery_id']}/restart", {"reason": "it is configured again"})
    until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    assert scp.digests() == sorted(series.digests().values())
