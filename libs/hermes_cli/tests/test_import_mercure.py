"""`hermes rules import-mercure`: two files and a report; the router only when asked."""

import json

import pytest

OLD = {
    "targets": {
        "PACS": {"target_type": "dicom", "ip": "10.0.0.5", "port": "104", "aet_target": "PACS"},
        "Elsewhere": {"target_type": "xnat", "host": "x\x1b[31m"},
    },
    "rules": {
        "Brain": {"rule": "'brain' in @StudyDescription@ or @Modality@ == 'MR'", "target": "PACS"},
        "Typo": {"rule": "@Modalitty@ == 'MR'", "target": "PACS"},
    },
}


@pytest.fixture
def old(tmp_path):
    file = tmp_path / "mercure.json"
    file.write_text(json.dumps(OLD), encoding="utf-8")
    return file


def test_two_files_are_written_and_a_report_is_said(hermes, router, old, tmp_path):
    done = hermes("rules", "import-mercure", old, "--output", "made")
    assert done.returncode == 0, done.stderr
    rules = json.loads((tmp_path / "made" / "rules.json").read_text("utf-8"))["rules"]
    assert [rule["expression"] for rule in rules] == ['StudyDescription contains "brain" or Modality == "MR"']
    targets = json.loads((tmp_path / "made" / "targets.json").read_text("utf-8"))["targets"]
    assert [target["slug"] for target in targets] == ["pacs"]
    assert (tmp_path / "made" / "targets.json").stat().st_mode & 0o777 == 0o600
    assert "Not translated" in done.stdout
    assert "rules.Typo.rule, line 1, column 2: there is no field Modalitty; did you mean Modality?" in done.stdout
    assert "contains ignores case" in done.stdout
    assert "1 rules in made/rules.json, 1 targets in made/targets.json" in done.stderr
    assert "\x1b" not in done.stdout
    assert router.requests == []


def test_files_that_are_there_are_not_written_over(hermes, old, tmp_path):
    (tmp_path / "targets.json").write_text("mine", encoding="utf-8")
    done = hermes("rules", "import-mercure", old)
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert not (tmp_path / "rules.json").exists()
    assert (tmp_path / "targets.json").read_text("utf-8") == "mine"
    assert hermes("rules", "import-mercure", old, "--force").returncode == 0
    assert json.loads((tmp_path / "targets.json").read_text("utf-8"))["targets"]


def test_the_report_is_there_for_programs_and_the_state_can_be_chosen(hermes, old, tmp_path):
    done = hermes("rules", "import-mercure", "-", "--json", "--state", "dry_run", stdin=json.dumps(OLD))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["files"] == ["rules.json", "targets.json"]
    assert answer["applied"] is False
    assert answer["counts"] == {"translated": 2, "differs": 2, "by_hand": 0, "lost": 2}
    assert {note["place"] for note in answer["notes"] if note["outcome"] == "lost"} == {
        "targets.Elsewhere.target_type", "rules.Typo.rule",
    }  # fmt: skip
    assert json.loads((tmp_path / "rules.json").read_text("utf-8"))["rules"][0]["state"] == "dry_run"


def test_when_asked_targets_and_rules_are_added_to_those_of_the_router(hermes, router, old):
    there = {"slug": "there", "name": "There", "kind": "folder", "path": "/a"}
    router.on("GET", "/targets", {"targets": [there]}, ETag='"3"')
    router.on("GET", "/rules", {"rules": []}, ETag='"4"')
    router.on("PUT", "/targets", {}, ETag='"5"')
    router.on("PUT", "/rules", {}, ETag='"6"')
    done = hermes("rules", "import-mercure", old, "--apply")
    assert done.returncode == 0, done.stderr
    targets, rules = (request for request in router.requests if request[0] == "PUT")
    assert [target["slug"] for target in targets[4]["targets"]] == ["there", "pacs"]
    assert targets[3]["If-Match"] == '"3"'
    assert [rule["slug"] for rule in rules[4]["rules"]] == ["brain"]
    assert "applied" in done.stderr


def test_nothing_is_applied_over_what_has_the_same_name(hermes, router, old):
    router.on("GET", "/targets", {"targets": []}, ETag='"3"')
    router.on("GET", "/rules", {"rules": [{"slug": "brain"}]}, ETag='"4"')
    done = hermes("rules", "import-mercure", old, "--apply")
    assert done.returncode == 1
    assert "brain" in done.stderr
    assert [request[0] for request in router.requests] == ["GET", "GET"]


@pytest.mark.parametrize(("text", "code"), [("{", 1), ("[1]", 1), (None, 2)])
def test_what_is_no_configuration_of_mercure_is_said_in_a_line(hermes, tmp_path, text, code):
    file = tmp_path / "old.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    done = hermes("rules", "import-mercure", file)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rules.json").exists()
