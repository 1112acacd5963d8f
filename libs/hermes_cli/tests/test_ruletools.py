"""`hermes rules test|backtest|overlaps|history|diff|restore` against a stub of the API."""

import base64
import json

import pytest

RULES = {"rules": [{"slug": "mr", "name": "MR", "expression": 'Modality == "MR"', "targets": ["pacs"]}]}
CLAUSE = {"text": 'Modality == "MR"', "outcome": "true", "seen": ["MR\x1b[31m"], "reason": ""}
RESULT = {"slug": "mr", "state": "active", "status": "fired", "reason": "", "explanation": {"clauses": [CLAUSE]}}
TESTED = {
    "outcome": "routed",
    "what": "tags",
    "revision": 4,
    "at": "2026-01-01T12:00:00+00:00",
    "deliveries": [{"target": "pacs", "priority": "urgent", "rules": ["mr"], "is": "paused", "name": "PACS"}],
    "dry_runs": ["dry"],
    "warnings": [],
    "results": [RESULT],
}
COUNTS = {"matched": 5, "gained": 2, "lost": 1, "near_misses": 3, "unknown": 0, "errors": 0}
NO_SAMPLES = {"matched": [], "gained": [], "lost": [], "near_misses": [], "unknown": [], "errors": []}
NEAR = {"series_uid": "1.2.3", "modality": "CT", "description": "thorax", "not_true": [{**CLAUSE, "outcome": "false"}]}
RULE = {
    "slug": "mr",
    "name": "MR",
    "state": "active",
    "change": "changed",
    "failure": "",
    **COUNTS,
    "samples": {**NO_SAMPLES, "near_misses": [NEAR]},
}
STARTED = {"type": "started", "of": 100, "revision": 4}
BACKTESTED = {
    "type": "result",
    "series": 100,
    "revision": 4,
    "seconds": 1.25,
    "changed": {"count": 3, "samples": []},
    "outcomes": {"routed": {"before": 4, "after": 5}},
    "targets": [{"target": "pacs", "before": 4, "after": 5, "gained": 2, "lost": 1}],
    "rules": [RULE],
    "left_out": ["whole-study"],
}


def lines(*messages):
    return "".join(json.dumps(message) + "\n" for message in messages).encode()


def test_tags_are_tested_and_shown_clause_by_clause_without_steering_the_terminal(hermes, router):
    router.on("POST", "/rules/test", TESTED)
    done = hermes("rules", "test", "--tag", "Modality=MR", "--tag", "ImageType=A\\B", "--tag", "PatientID=")
    assert done.returncode == 0
    assert "revision 4" in done.stdout
    assert "to pacs, urgent, by mr - target paused" in done.stdout
    assert "dry run dry would fire; it sends nothing" in done.stdout
    assert "true     Modality ==" in done.stdout
    assert "\x1b" not in done.stdout
    assert router.requests[-1][4] == {"tags": {"Modality": ["MR"], "ImageType": ["A", "B"], "PatientID": []}}
    assert json.loads(hermes("rules", "test", "--series", "1.2", "--json").stdout) == TESTED


def test_a_rule_that_fails_in_a_test_is_exit_code_1(hermes, router, tmp_path):
    failed = {**RESULT, "status": "failed", "reason": "no rule", "explanation": None}
    router.on("POST", "/rules/test", {**TESTED, "revision": None, "results": [failed]})
    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps(RULES))
    done = hermes("rules", "test", "--series", "1.2.3", "--rules", draft)
    assert done.returncode == 1
    assert "failed  mr (active): no rule" in done.stdout
    assert router.requests[-1][4] == {"tags": {}, "series_uid": "1.2.3", "rules": RULES}


def test_of_a_file_only_the_beginning_is_sent_and_more_if_that_is_not_enough(hermes, router, tmp_path):
    file = tmp_path / "big.dcm"
    file.write_bytes(bytes(4_000_000))

    def answer(_query, body):
        if len(base64.b64decode(body["file"])) < 2_000_000:
            return 422, {"title": "no", "detail": "send more of it"}, {}
        return 200, TESTED, {}

    router.answers["POST", "/api/v1/rules/test"] = answer
    assert hermes("rules", "test", file).returncode == 0
    sizes = [(len(base64.b64decode(body["file"])), body["truncated"]) for *_, body in router.requests]
    assert sizes == [(1_048_576, True), (2_900_000, True)]
    router.problem("POST", "/rules/test", 422, detail="no DICM prefix")
    done = hermes("rules", "test", file)
    assert (done.returncode, "no DICM prefix" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing.dcm",),
        ("--tag", "Modality"),
        ("x.dcm", "--series", "1.2"),
        ("--tag", "A=b", "--rules", "x", "-e", "y"),
    ],
)
def test_a_test_that_cannot_be_meant_is_exit_code_2(hermes, arguments):
    assert hermes("rules", "test", *arguments).returncode == 2


def test_a_backtest_is_told_by_rule_with_near_misses(hermes, router):
    progress = {"type": "progress", "done": 50, "of": 100}
    router.on("POST", "/rules/backtest", lines(STARTED, progress, BACKTESTED))
    done = hermes("rules", "backtest", "-", "--days", "7", stdin=json.dumps(RULES))
    assert done.returncode == 0
    assert "100 series of the last 7 days against revision 4, in 1.2 s" in done.stdout
    assert "routed: 4 -> 5" in done.stdout
    assert "to pacs: +2 -1 series" in done.stdout
    assert 'mr, near miss: 1.2.3 CT thorax - Modality == "MR" is false' in done.stdout
    assert "whole-study" in done.stdout
    assert router.requests[-1][4] == {"days": 7, "rules": RULES}
    streamed = hermes("rules", "backtest", "--json", "--activate", "mr")
    assert router.requests[-1][4] == {"days": 30, "activate": ["mr"]}
    assert [json.loads(line)["type"] for line in streamed.stdout.splitlines()] == ["started", "progress", "result"]


def test_a_backtest_with_errors_or_one_that_breaks_off_is_exit_code_1(hermes, router):
    bad = {**RULE, "errors": 100, "failure": "the expression cannot be used"}
    router.on("POST", "/rules/backtest", lines(STARTED, {**BACKTESTED, "rules": [bad]}))
    done = hermes("rules", "backtest")
    assert (done.returncode, "mr: the expression cannot be used" in done.stdout) == (1, True)
    problem = {"type": "problem", "problem": {"detail": "the database is away", "action": "Check PostgreSQL."}}
    router.on("POST", "/rules/backtest", lines(STARTED, problem))
    done = hermes("rules", "backtest")
    assert (done.returncode, "broke off: the database is away. Check PostgreSQL." in done.stderr) == (1, True)
    router.on("POST", "/rules/backtest", lines(STARTED))
    assert "the connection ended" in hermes("rules", "backtest").stderr
    router.on("POST", "/rules/backtest", b"<html>")
    assert "does not answer with JSON" in hermes("rules", "backtest").stderr
    router.problem("POST", "/rules/backtest", 503, detail="too many")
    assert "too many" in hermes("rules", "backtest").stderr


def test_overlaps_and_rules_that_never_match_are_told(hermes, router):
    never = {"rule": "xa", "state": "active", "near_misses": 4, "errors": 0}
    pair = {"rules": ["a", "b"], "series": 12, "matched": [12, 30]}
    router.on("POST", "/rules/overlaps", {"series": 100, "overlaps": [pair], "never": [never]})
    out = hermes("rules", "overlaps").stdout
    assert "xa (active) matched nothing; 4 series miss by one condition" in out
    assert [cell for line in out.splitlines() for cell in line.split() if line.strip().startswith("a ")] == [
        *("a", "b", "12", "12", "30")
    ]
    router.on("POST", "/rules/overlaps", {"series": 1, "overlaps": [], "never": []})
    assert "no two rules" in hermes("rules", "overlaps").stdout


def test_the_history_is_listed_compared_and_restored(hermes, router):
    item = {"revision": 3, "time": "2026-01-01T12:00:00+00:00", "author": "ann", "comment": "why"}
    router.on("GET", "/rules/revisions", {"items": [item]})
    assert "why" in hermes("rules", "history").stdout
    clause = {"what": "added", "clause": "Rows > 1"}
    fields = [
        {"field": "expression", "before": "a", "after": "b", "clauses": [clause]},
        {"field": "priority", "before": "normal", "after": "urgent"},
    ]
    differences = [
        {"what": "changed", "rule": "mr", "fields": fields},
        {"what": "moved", "rule": "ct", "before": 2, "after": 1},
        {"what": "removed", "rule": "us", "before": {"expression": 'Modality == "US"'}},
        {"what": "added", "rule": "xa", "after": {}},
    ]
    router.on("GET", "/rules", RULES, ETag='"3"')
    router.on("GET", "/rules/revisions/compare", {"from": {}, "to": item, "differences": differences})
    out = hermes("rules", "diff").stdout
    assert router.requests[-1][2] == {"from": ["2"]}
    for text in (
        "from revision 2 to 3, saved by ann",
        "+ Rows > 1",
        "priority: normal -> urgent",
        "place 2 to 1",
        "US",
    ):
        assert text in out
    hermes("rules", "diff", "1", "2")
    assert router.requests[-1][2] == {"from": ["1"], "to": ["2"]}
    router.on("POST", "/rules/revisions/2/restore", RULES, ETag='"4"')
    assert "revision 4 is revision 2 again" in hermes("rules", "restore", "2").stdout
    assert router.requests[-1][3]["If-Match"] == '"3"'
    router.problem("POST", "/rules/revisions/2/restore", 412)
    assert hermes("rules", "restore", "2", "--revision", "1").returncode == 1
