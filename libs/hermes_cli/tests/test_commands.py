"""The commands against a stub of the API: what they ask, what they say, how they end."""

import json
from datetime import UTC, datetime

import pytest

SERIES = "1.2.3"
ROW = {
    "series_uid": SERIES,
    "state": "delivered",
    "modality": "MR",
    "instances": 3,
    "octets": 1234567,
    "calling_aet": "MR01",
    "series_description": "t1\x1b[31m",
    "last_received_at": "2026-01-31T12:00:00Z",
}
RULES = {
    "rules": [
        {"slug": "a", "name": "A", "expression": 'Modality == "CT"', "targets": ["pacs"]},
        {"slug": "b", "name": "B", "expression": 'Modality == "MR"', "targets": ["pacs"]},
    ]
}


@pytest.mark.parametrize("fine", [True, False])
def test_status_ends_with_1_when_something_is_wrong(hermes, router, fine):
    problems = [] if fine else [{"text": "1 failed deliveries", "link": "/deliveries"}]
    queue = {"target": "pacs", "counts": {"failed": 1}, "oldest": None}
    service = {"service": "router", "instance": "router@here", "state": "started", "answers": True, "version": "1"}
    router.on(
        "GET",
        "/status",
        {"fine": fine, "headline": "what is up", "problems": problems, "services": [service], "queues": [queue]},
    )
    done = hermes("status")
    assert done.returncode == (0 if fine else 1)
    assert "what is up" in done.stdout
    assert "pacs" in done.stdout
    assert json.loads(hermes("status", "--json").stdout)["fine"] is fine


def test_a_router_that_does_not_answer_is_said_in_a_line(hermes):
    done = hermes("status", HERMES_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "hermes doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_address_the_command_says_how_to_give_one(hermes):
    done = hermes("status", HERMES_URL=None)
    assert done.returncode == 1
    assert "hermes up" in done.stderr
    assert "--url" in done.stderr


def test_an_address_that_is_none_is_a_mistake_of_usage(hermes):
    assert hermes("status", "--url", "localhost:8080").returncode == 2
    assert hermes("status", "--nonsense").returncode == 2


def test_the_home_names_address_and_token(hermes, router, home):
    router.on("GET", "/status", {"fine": True})
    assert hermes("status", HERMES_URL=None, HERMES_TOKEN=None).returncode == 0


def test_the_token_of_the_home_goes_to_no_other_address(hermes, router, home):
    (home / "run.json").write_text((home / "run.json").read_text().replace(router.url, "http://127.0.0.1:1"))
    done = hermes("status", "--url", router.url, HERMES_URL=None, HERMES_TOKEN=None)
    assert done.returncode == 1
    assert "HERMES_TOKEN" in done.stderr
    assert "Authorization" not in router.requests[-1][3]


def test_series_are_listed_and_their_text_cannot_steer_the_terminal(hermes, router):
    router.on("GET", "/series", {"items": [ROW], "next": None})
    done = hermes("series", "ls", "-q", "modality:MR", "-n", "5")
    assert done.returncode == 0
    assert SERIES in done.stdout
    assert "\x1b" not in done.stdout
    assert router.requests[-1][2] == {"q": ["modality:MR"], "limit": ["5"]}


def test_pages_are_followed_up_to_the_limit(hermes, router):
    def pages(query, _):
        number = int(query.get("cursor", ["0"])[0])
        return 200, {"items": [{"series_uid": f"{number}.{n}"} for n in range(200)], "next": str(number + 1)}, {}

    router.answers["GET", "/api/v1/series"] = pages
    found = json.loads(hermes("series", "ls", "-n", "450", "--json").stdout)
    assert len(found["items"]) == 450
    assert found["more"] is True


def test_series_are_exported_into_a_file_that_is_there_whole_or_not_at_all(hermes, router, tmp_path):
    router.on("GET", "/series/export", b"series_uid\r\n1.2\r\n")
    asked = ("series", "export", "-q", "modality:MR", "--columns", "series_uid", "--masked")
    output = tmp_path / "series.csv"
    assert hermes(*asked, "-o", str(output)).returncode == 0
    assert output.read_bytes() == b"series_uid\r\n1.2\r\n"
    query = router.requests[-1][2]
    assert query == {"q": ["modality:MR"], "format": ["csv"], "columns": ["series_uid"], "masked": ["true"]}
    router.on("GET", "/series/export", {"detail": "columns: no such attribute"}, 422)
    failed = hermes(*asked, "-o", str(tmp_path / "other.csv"))
    assert (failed.returncode, "no such attribute" in failed.stderr) == (1, True)
    assert [file.name for file in tmp_path.iterdir() if file.suffix in {".csv", ".part"}] == ["series.csv"]


def test_a_series_is_shown_with_its_decision_and_deliveries(hermes, router):
    decision = {
        "outcome": "routed",
        "revision": 3,
        "rules": [{"slug": "brain", "status": "fired"}],
        "problems": ["odd"],
    }
    delivery = {"target": "pacs", "state": "failed", "delivered": 1, "instances": 3, "attempt": 2, "reason": "refused"}
    router.on("GET", f"/series/{SERIES}", {**ROW, "decisions": [decision], "deliveries": [delivery]})
    done = hermes("series", "show", SERIES)
    assert done.returncode == 0
    for word in ("brain fired", "revision 3", "problem: odd", "pacs", "1/3", "refused", "1.2 MB"):
        assert word in done.stdout
    unknown = hermes("series", "show", "9.9/../x")
    assert unknown.returncode == 1
    assert router.requests[-1][1] == "/api/v1/series/9.9%2F..%2Fx"


def test_a_series_is_routed_by_hand(hermes, router):
    router.on("POST", f"/series/{SERIES}/route", {"command_id": "x"}, 202)
    assert hermes("series", "route", SERIES, "--to", "pacs", "--to", "lab", "--reason", "asked for").returncode == 0
    assert router.requests[-1][4] == {"targets": ["pacs", "lab"], "reason": "asked for"}
    assert hermes("series", "route", SERIES).returncode == 2


def test_one_delivery_that_is_refused_does_not_keep_the_others(hermes, router):
    router.problem("POST", "/deliveries/one/restart", 409, detail="it is sending")
    router.on("POST", "/deliveries/two/restart", {"command_id": "x"}, 202)
    done = hermes("deliveries", "retry", "one", "two", "--scope", "all")
    assert done.returncode == 1
    assert "it is sending" in done.stderr
    assert "two: restart asked for" in done.stdout
    assert router.requests[-1][4] == {"scope": "all", "reason": ""}


def test_deliveries_are_listed_shown_and_dismissed(hermes, router):
    row = {"delivery_id": "d1", "target": "pacs", "state": "failed", "delivered": 0, "instances": 2, "attempt": 5}
    router.on("GET", "/deliveries", {"items": [row], "next": None})
    router.on("GET", "/deliveries/d1", {**row, "attempts": [{"attempt": 1, "result": "retrying", "reason": "slow"}]})
    router.on("POST", "/deliveries/d1/dismiss", {"command_id": "x"}, 202)
    router.on("POST", "/deliveries/d1/cancel", {"command_id": "x"}, 202)
    assert "d1" in hermes("deliveries", "ls", "--state", "failed", "--target", "pacs").stdout
    assert router.requests[-1][2] == {"state": ["failed"], "target": ["pacs"], "limit": ["50"]}
    assert "slow" in hermes("deliveries", "show", "d1").stdout
    assert hermes("deliveries", "dismiss", "d1").returncode == 0
    assert hermes("deliveries", "cancel", "d1", "--json").returncode == 0
    assert hermes("deliveries", "ls", "--state", "lost").returncode == 2


def test_targets_are_listed_and_tested(hermes, router):
    target = {"slug": "pacs", "name": "PACS", "kind": "dicom", "host": "h", "port": 104, "called_aet": "P"}
    router.on("GET", "/targets", {"targets": [target]}, ETag='"4"')
    step = {"name": "connect", "ok": False, "milliseconds": 3.0, "detail": "connection refused"}
    router.on("POST", "/targets/pacs/test", {"target": "pacs", "ok": False, "steps": [step]})
    states = [{"target": "pacs", "state": "down", "reason": "no answer", "until": None}]
    router.on("GET", "/targets/states", {"items": states})
    listed = hermes("targets", "ls").stdout
    assert "P@h:104" in listed
    assert "down" in listed
    assert json.loads(hermes("targets", "ls", "--json").stdout)["revision"] == 4
    done = hermes("targets", "test", "pacs")
    assert done.returncode == 1
    assert "connection refused" in done.stdout


def test_targets_are_paused_for_a_while_and_resumed(hermes, router):
    router.on("POST", "/targets/pacs/pause", {"slug": "pacs"})
    router.on("POST", "/targets/pacs/resume", {"slug": "pacs"})
    assert "paused until" in hermes("targets", "pause", "pacs", "--for", "2h", "--reason", "new disks").stdout
    body = router.requests[-1][4]
    assert body["reason"] == "new disks"
    assert 7100 < (datetime.fromisoformat(body["until"]) - datetime.now(UTC)).total_seconds() <= 7200
    assert hermes("targets", "pause", "pacs", "--for", "soon").returncode == 2
    assert hermes("targets", "pause", "pacs").returncode == 0
    assert router.requests[-1][4] == {"reason": ""}
    assert "resumed" in hermes("targets", "resume", "pacs").stdout


def test_rules_go_out_and_come_back_with_the_tag_they_were_read_with(hermes, router, tmp_path):
    router.on("GET", "/rules", RULES, ETag='"7"')
    router.on("PUT", "/rules", RULES, ETag='"8"')
    file = tmp_path / "rules.json"
    assert "revision 7" in hermes("rules", "export", file).stderr
    assert "nothing changes" in hermes("rules", "apply", file).stdout
    changed = json.loads(file.read_text())
    changed["rules"].append({"slug": "c", "name": "C", "expression": 'Modality == "US"', "targets": ["pacs"]})
    changed["rules"][0]["name"] = "Another"
    file.write_text(json.dumps(changed))
    assert "changed  a: name" in hermes("rules", "plan", file).stdout
    done = hermes("rules", "apply", file, "--comment", "why", "--revision", "7")
    assert done.returncode == 0
    assert "revision 8" in done.stdout
    method, _, query, headers, body = router.requests[-1]
    assert (method, headers["If-Match"], query["comment"], body) == ("PUT", '"7"', ["why"], changed)


def test_rules_are_not_applied_over_somebody_elses(hermes, router):
    router.on("GET", "/rules", {"rules": []}, ETag='"9"')
    router.problem("PUT", "/rules", 412)
    text = json.dumps(RULES)
    assert "revision 9, not 7" in hermes("rules", "apply", "-", "--revision", "7", stdin=text).stderr
    assert router.requests[-1][0] == "GET"
    done = hermes("rules", "apply", "-", stdin=text)
    assert done.returncode == 1
    assert "somebody else saved" in done.stderr


def test_a_rule_that_is_not_valid_is_named(hermes, router):
    router.on("GET", "/rules", {"rules": []}, ETag='"0"')
    done = hermes("rules", "apply", "-", stdin='{"rules": [{"slug": "a", "name": "A", "expression": "x"}]}')
    assert done.returncode == 1
    assert "rule a" in done.stderr
    assert hermes("rules", "apply", "-", stdin="[]").returncode == 1
    assert hermes("rules", "apply", "-", stdin="{").returncode == 1
    assert hermes("rules", "apply", "nothing.json").returncode == 2


def test_rules_are_checked_by_the_router(hermes, router):
    problem = {
        "field": "rules[1].expression",
        "message": "unknown field",
        "line": 1,
        "column": 3,
        "suggestion": "Modality",
    }
    router.on("POST", "/rules/check", {"valid": False, "problems": [problem]})
    done = hermes("rules", "check", "-", stdin=json.dumps(RULES))
    assert done.returncode == 1
    assert "rules[1].expression, line 1, column 3: unknown field; did you mean Modality?" in done.stdout
    assert router.requests[-1][4] == {"rules": RULES}


def test_an_answer_that_is_no_json_is_said_in_a_line(hermes, router):
    router.on("GET", "/status", b"<html>")
    done = hermes("status")
    assert done.returncode == 1
    assert "is that the address" in done.stderr


def test_a_study_is_shown_with_what_it_waits_for_and_completed(hermes, router):
    decision = {"round": 1, "outcome": "routed", "revision": 3, "reason": "nothing has come\x1b[31m", "rules": []}
    study = {"study_uid": "1.2", "state": "open", "waits_for": "a series", "series": [ROW], "decisions": [decision]}
    router.on("GET", "/studies/1.2", study)
    router.on("POST", "/studies/1.2/complete", {"command_id": "c1"})
    done = hermes("studies", "show", "1.2")
    assert done.returncode == 0
    assert "a series" in done.stdout
    assert "decision 1: routed" in done.stdout
    assert "\x1b" not in done.stdout
    assert json.loads(hermes("studies", "show", "1.2", "--json").stdout)["state"] == "open"
    asked = hermes("studies", "complete", "1.2", "--reason", "no more comes")
    assert asked.returncode == 0
    assert "hermes studies show 1.2" in asked.stdout


PLAN = {
    "series": 3,
    "octets": 6_000_000,
    "due": 1,
    "due_octets": 2_000_000,
    "early": 1,
    "early_octets": 1,
    "unreadable": 0,
    "watermark_words": "at most 1TB stored",
    "soonest": [
        {"series_uid": "1.2.1", "at": "2026-01-31T12:00:00Z", "early": False, "octets": 5, "why": "target ai\x1b[31m"},
        {"series_uid": "1.2.2", "at": "2026-02-01T12:00:00Z", "early": True, "octets": 5, "why": "delivered series"},
    ],
    "kept": [{"reason": "its delivery to pacs is failed", "series": 2, "octets": 4}],
    "watermark": {"pressure": {"reason": "the store is too full"}},
    "sweep": None,
    "orphans": [],
    "missing": [],
}


def test_the_plan_of_the_cleaner_says_what_goes_when_and_why(hermes, router):
    router.on("GET", "/storage/plan", PLAN)
    done = hermes("cleaner", "plan", "-n", "2")
    assert done.returncode == 0
    for words in ("1.2.1", "target ai", "early", "its delivery to pacs is failed", "the store is too full"):
        assert words in done.stdout
    assert "not been looked through" in done.stdout
    assert "\x1b" not in done.stdout
    assert router.requests[-1][2] == {"limit": ["2"]}
    assert json.loads(hermes("cleaner", "plan", "--json").stdout)["due"] == 1
    sweep = {"ended_at": "2026-01-31T12:00:00Z", "objects": 9, "orphans": 1, "orphan_octets": 5, "missing": 1}
    orphan = {"key": "1.2/x.dcm", "why": "no record", "first_seen": "2026-01-31T12:00:00Z", "removed_from": None}
    router.on("GET", "/storage/plan", PLAN | {"sweep": sweep | {"removed": 0}, "orphans": [orphan], "missing": ["y"]})
    found = hermes("cleaner", "plan").stdout
    assert "9 objects, 1 orphans" in found
    assert "missing: y" in found
    assert "only reported" in found


@pytest.mark.parametrize(("state", "words"), [("begun", "has begun"), ("under_way", "is at it already")])
def test_a_sweep_is_asked_for(hermes, router, state, words):
    router.on("POST", "/storage/sweep", {"state": state, "cleaner": "cleaner@here"})
    done = hermes("cleaner", "sweep", "--remove")
    assert (done.returncode, words in done.stdout) == (0, True)
    assert router.requests[-1][4] == {"remove": True}


def test_a_retention_is_tried_before_it_is_saved(hermes, router, tmp_path):
    file = tmp_path / "policies.json"
    file.write_text('{"retention": {"delivered": "1h"}}')
    router.on("POST", "/policies/preview", {"series": 2, "words": "2 series (1.0 GB) would be deleted at once"})
    done = hermes("cleaner", "preview", file)
    assert (done.returncode, "2 series" in done.stdout) == (1, True)
    assert router.requests[-1][4] == {"retention": {"delivered": "1h"}}
    router.on("POST", "/policies/preview", {"series": 0, "words": "nothing would be deleted at once"})
    assert hermes("cleaner", "preview", file).returncode == 0
    file.write_text("[]")
    assert hermes("cleaner", "preview", file).returncode == 1
    assert hermes("cleaner", "preview", tmp_path / "gone").returncode == 2


def test_a_study_is_discarded(hermes, router):
    router.on("POST", "/studies/1.2/discard", {"command_id": "c1"})
    done = hermes("studies", "discard", "1.2", "--reason", "a phantom")
    assert (done.returncode, router.requests[-1][4]) == (0, {"reason": "a phantom"})


def test_a_whole_audit_ends_with_0_and_a_broken_one_names_the_place_and_ends_with_1(hermes, router):
    found = {"state": "whole", "words": "whole: 12 rows", "breaks": [], "anchored": 12, "anchors": 3}
    router.on("GET", "/audit/chain", found)
    done = hermes("audit", "verify")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["the chain of the audit is whole: 12 rows", "the bus agrees up to row 12 (3 anchors compared)"],
    )
    broken = {
        "fault": "changed",
        "sequence": 7,
        "number": 9,
        "time": "2026-05-01T12:00:00Z",
        "words": "row 7 was changed",
    }
    router.on("GET", "/audit/chain", {**found, "state": "broken", "words": "broken: row 7", "breaks": [broken]})
    done = hermes("audit", "verify")
    assert done.returncode == 1
    assert "row 7 was changed" in done.stdout
    done = hermes("audit", "verify", "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (1, "broken")
    router.on("GET", "/audit/chain", {**found, "state": "unknown", "words": "cannot be checked"})
    assert hermes("audit", "verify").returncode == 1
