"""The series that the demo sends: readable, unique, nothing downloaded, and said well."""

import socket
import subprocess
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from hermes_cli.sending.files import Instance, examine
from hermes_cli.sending.sender import Peer, Sender, Summary
from hermes_common.config import RuleSet, Targets
from hermes_common.dicom.header import extract_header
from hermes_common.dicom.uids import is_valid_uid
from hermes_common.rules import check
from hermes_local.demo import configuration, story, study, tour

NOW = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return list(study.make_all(tmp_path_factory.mktemp("demo"), NOW))


def headers(series):
    for path in series.files:
        instance = examine(path)
        assert isinstance(instance, Instance)
        yield instance, extract_header(path.read_bytes()[instance.offset :], instance.transfer_syntax)


def test_every_instance_is_readable_and_says_what_it_belongs_to(made):
    for series in made:
        found = list(headers(series))
        assert len(found) == series.recipe.instances
        assert {header.series_uid for _, header in found} == {series.series_uid}
        assert {header.study_uid for _, header in found} == {series.study_uid}
        assert [header.tags["InstanceNumber"] for _, header in found] == [[str(n + 1)] for n in range(len(found))]
        assert not [warning for _, header in found for warning in header.warnings]


def test_uids_are_valid_and_never_the_same(made):
    uids = [series.series_uid for series in made] + [series.study_uid for series in made]
    uids += [header.sop_instance_uid for series in made for _, header in headers(series)]
    assert len(set(uids)) == len(uids)
    assert all(is_valid_uid(uid) and uid.startswith(study.ROOT) and len(uid) <= 64 for uid in uids)


def test_the_series_show_what_they_promise(made):
    by_name = {series.recipe.name: series for series in made}
    compressed, _ = next(headers(by_name["mr-jpeg2000"]))
    assert compressed.transfer_syntax.startswith("1.2.840.10008.1.2.4.9")
    assert dcmread(by_name["us"].files[0]).NumberOfFrames == 30
    _, japanese = next(headers(by_name["ct-japanese"]))
    assert japanese.tags["PatientName"] == ["Yamada^Tarou=山田^太郎=やまだ^たろう"]


def test_making_them_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(study.make_all(tmp_path, NOW))


def test_rules_and_targets_are_valid_and_fit(tmp_path):
    targets = Targets(targets=configuration.targets(1041, 1042, tmp_path))
    rules = RuleSet(rules=configuration.RULES)
    for rule in rules.rules:
        check(rule.expression, rule.scope.value)
        assert all(targets.get(slug) is not None for slug in rule.targets)


def test_the_archive_keeps_what_it_answers_with_success(made, tmp_path):
    port = tour._free_port()
    program = tour.archive_program(port, tmp_path / "received", tmp_path / "log")
    process = subprocess.Popen(program.argv, env=dict(program.environment), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 15
        while program.ready() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        summary = Summary()
        with Sender(Peer("127.0.0.1", port, configuration.ARCHIVE_AET, "TEST")) as sender:
            for outcome in sender.send(examine(path) for series in made for path in series.files):
                summary.add(outcome)
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert (summary.failed, summary.skipped) == (0, 0)
    for series in made:
        kept = {path.name: path for path in (tmp_path / "received" / series.series_uid).iterdir()}
        for path in series.files:
            sent = examine(path)
            got = examine(kept[f"{sent.sop_instance}.dcm"])
            assert path.read_bytes()[sent.offset :] == got.path.read_bytes()[got.offset :]


def test_a_port_of_an_earlier_demo_is_taken_again_unless_somebody_has_it():
    class Api:
        def document(self, _):
            from hermes_cli.api import Stored

            target = configuration.targets(self.port, 9, tmp)[0].model_dump(mode="json")
            return Stored({"targets": [target]}, 1, '"1"')

    tmp = Path("/tmp")
    api = Api()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        api.port = taken.getsockname()[1]
        assert tour._port_for(api, configuration.ARCHIVE) != api.port
    assert tour._port_for(api, configuration.ARCHIVE) == api.port


def test_the_story_goes_from_reception_to_delivery(made):
    series = made[0]
    rule = {"slug": "r", "status": "fired", "clauses": [{"text": "Modality", "outcome": "true", "seen": ["CT"]}]}
    delivery = {
        "target": "t",
        "state": "succeeded",
        "delivered": 4,
        "instances": 4,
        "attempt": 1,
        "ended_at": "2026-01-31T12:00:03Z",
    }
    detail = {
        "state": "delivered",
        "instances": 4,
        "modality": "CT",
        "calling_aet": "X",
        "address": "::1",
        "last_received_at": "2026-01-31T12:00:00Z",
        "decisions": [{"rules": [rule]}],
        "deliveries": [delivery],
    }
    text = "\n".join(story.lines(series, detail, "http://h"))
    assert "rule r fired: Modality is true, saw CT" in text
    assert "-> t: SUCCEEDED, 4 of 4 instances, 1 attempt, 3.0 s after the last image" in text
    assert f"http://h/series/{series.series_uid}" in text
    assert story.is_over(detail, 4)
    receiving = {**detail, "state": "receiving", "deliveries": [{"target": "x", "state": "queued"}]}
    assert not story.is_over(receiving, 4)
    assert story.is_over(receiving, 4, {"x"})
    assert not story.is_over(receiving, 5, {"x"})
    waiting = {
        **detail,
        "deliveries": [{**delivery, "state": "queued", "delivered": 0, "attempt": 0, "ended_at": None}],
    }
    assert "0 attempts: the target is down; it is sent" in "\n".join(story.lines(series, waiting, "http://h", {"t"}))
    assert "is down" not in "\n".join(story.lines(series, waiting, "http://h"))
    assert "does not know" in "\n".join(story.lines(series, None, "http://h"))
