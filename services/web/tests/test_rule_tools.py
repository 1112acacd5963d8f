"""The tools on rules: check, test, backtest, overlaps, compare; what a save refuses. On real servers."""

import asyncio
import base64
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import Connection, create_engine, insert, select, text, update

from hermes_common import ledger
from hermes_common.config import Rule, RuleSet
from hermes_common.rules import CompiledRuleSet, Context, decide
from hermes_web.adapters import replays
from hermes_web.features.rules.stored import many_series
from hermes_web.web import Web

PACS = {"kind": "folder", "slug": "pacs", "name": "PACS", "path": "/tmp/pacs"}
AI = {"kind": "folder", "slug": "ai", "name": "AI", "path": "/tmp/ai", "enabled": False}
BRAIN = {"slug": "brain", "name": "Brain", "expression": 'Modality == "MR"', "targets": ["pacs"]}
STORED = "1.2.826.0.1.3680043.2.1125.1"
AT = datetime.now(UTC) - timedelta(hours=5)
ODD = ["plain", 'quo"te', "back\\slash \\n", "tab\tand\nline", "\u00e4 \u65e5\u672c", "\\N", "{}[],", "\x01", ""]


@pytest.fixture
async def configured(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """An API with two targets and a rule."""
    for kind, document in (("targets", {"targets": [PACS, AI]}), ("rules", {"rules": [BRAIN]})):
        saved = await api.put(f"/api/v1/{kind}", json=document, headers={"if-match": '"0"'})
        assert saved.status_code == 200, saved.text
    return api


@pytest.fixture
def history(database_url: str) -> int:
    """A history of series that differ in everything that can be asked about; returns how many are decided."""
    rows = [row(number) for number in range(400)]
    rows += [{**row(900), "decided_at": None}, {**row(901), "last_received_at": AT - timedelta(days=40)}]
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
        ledger.metadata.create_all(connection)
        connection.execute(insert(ledger.series), rows)
    engine.dispose()
    return 400


def row(number: int) -> dict[str, Any]:
    at = AT - timedelta(hours=number)
    tags: dict[str, list[str]] = {
        "Modality": [("MR", "CT", "US")[number % 3]],
        "SeriesDescription": [ODD[number % len(ODD)], f"t1 {number}"] if number % 4 else [],
        "StudyDate": [(at - timedelta(days=number % 5)).strftime("%Y%m%d")],
    }
    if number % 2:
        tags |= {"SliceThickness": [("1.0", "3", "thick")[number % 3]], "(0019,100C)": [ODD[number % len(ODD)]]}
    if number % 5 == 0:
        tags["ProcedureCodeSequence.CodeValue"] = [f"IMG{number}"]
    return {
        "series_uid": f"1.2.3.{number}",
        "study_uid": "1.2.3",
        "state": "routed",
        "last_seq": number,
        "instances": number,
        "octets": number * 1000,
        "calling_aet": f"MR\\{number % 3}",
        "called_aet": "HERMES",
        "address": "10.0.0.7",
        "modality": tags["Modality"][0],
        "tags": tags,
        "decided_at": at,
        "first_received_at": at,
        "last_received_at": at - timedelta(minutes=1),
    }


EXPRESSIONS = (
    'Modality == "MR" and SliceThickness <= 1.5',
    'SeriesDescription contains "\\n" or SeriesDescription == "quo\\"te"',
    'SeriesDescription matches /tab.and/ or SeriesDescription contains "\u65e5"',
    "StudyDate within last 2 days and not (ProcedureCodeSequence is present)",
    'source.aet ends with "1" and series.instances > 50 and series.bytes < 300000',
    'received.hour >= 12 or received.weekday in ["mon", "tue"]',
    "(0019,100C) is present and ContrastBolusAgent is missing",
)


async def backtest(api: httpx.AsyncClient, **ask: Any) -> list[dict[str, Any]]:
    answer = await api.post("/api/v1/rules/backtest", json=ask)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_backtest_says_of_every_stored_series_what_testing_it_alone_says(
    web: Web, configured: httpx.AsyncClient, history: int
) -> None:
    rules = [
        {"slug": f"r{number}", "name": "r", "expression": expression, "targets": ["pacs" if number % 2 else "ai"]}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    messages = await backtest(configured, rules={"rules": rules}, days=30)
    started, *progress, result = messages
    assert (started["type"], started["of"], started["revision"]) == ("started", history, 1)
    assert {message["type"] for message in progress} == {"progress"}
    assert progress[-1]["done"] == history
    assert (result["type"], result["series"]) == ("result", history)
    compiled = CompiledRuleSet.compile(RuleSet.model_validate({"rules": rules}).rules)
    stored = await web.database.run(many_series, [f"1.2.3.{number}" for number in range(history)])
    verdicts: dict[str, list[str]] = {f"r{number}": [] for number in range(len(EXPRESSIONS))}
    routed = 0
    for each in stored.values():
        said = decide(compiled, Context(each.fields), each.at)
        routed += said.outcome == "routed"
        for one in said.results:
            assert one.verdict is not None
            near = one.explanation is not None and one.explanation.near_miss
            verdicts[one.slug].append(f"{one.verdict.value}{' near' if near else ''}")
    assert len(stored) == history
    assert result["outcomes"]["routed"]["after"] == routed
    for rule in result["rules"][:-1]:
        found = verdicts[rule["slug"]]
        assert rule["matched"] == rule["gained"] == found.count("match"), rule
        assert rule["unknown"] == found.count("unknown") + found.count("unknown near"), rule
        assert rule["near_misses"] == found.count("no_match near") + found.count("unknown near"), rule
        assert rule["matched"] > 0, rule
    removed = result["rules"][-1]
    assert (removed["slug"], removed["change"], removed["lost"]) == ("brain", "removed", 134)
    near = result["rules"][0]["samples"]["near_misses"][0]
    assert near["series_uid"] in stored
    assert near["not_true"][0]["outcome"] in ("false", "unknown")


async def test_a_backtest_without_a_draft_looks_at_the_active_rules_and_finds_overlaps(
    configured: httpx.AsyncClient, history: int
) -> None:
    *_, result = await backtest(configured)
    assert [(rule["slug"], rule["change"], rule["matched"]) for rule in result["rules"]] == [("brain", "same", 134)]
    two = {**BRAIN, "slug": "big", "expression": 'Modality == "MR" and series.instances >= 100'}
    never = {**BRAIN, "slug": "never", "expression": 'Modality == "XA"'}
    ask = {"rules": {"rules": [BRAIN, two, never]}, "days": 30}
    answer = (await configured.post("/api/v1/rules/overlaps", json=ask)).json()
    assert answer["overlaps"] == [{"rules": ["big", "brain"], "series": 100, "matched": [100, 134]}]
    assert [each["rule"] for each in answer["never"]] == ["never"]
    assert answer["series"] == history


async def test_a_broken_draft_and_a_missing_history_are_refused_before_anything_is_streamed(
    configured: httpx.AsyncClient,
) -> None:
    draft = {"rules": [{**BRAIN, "expression": 'Modality == "MR"\nand SeriesDescriptin == "x"'}]}
    answer = await configured.post("/api/v1/rules/backtest", json={"rules": draft})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    error = answer.json()["errors"][0]
    assert (error["rule"], error["line"], error["suggestion"]) == ("brain", 2, "SeriesDescription")
    assert (await configured.post("/api/v1/rules/backtest", json={})).status_code == 503
    for wrong in ({"days": 0}, {"days": "many"}, {"rules": {"rules": 7}}, {"colour": 1}):
        assert (await configured.post("/api/v1/rules/backtest", json=wrong)).status_code == 422, wrong


@pytest.fixture
async def listening(app: Any) -> AsyncIterator[str]:
    """The application behind a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


def workers() -> list[str]:
    """Return the processes of replays that belong to this test."""
    found = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False
    )
    return [line for line in found.stdout.splitlines() if "replay_worker" in line]


async def test_a_backtest_ends_with_all_its_processes_when_nobody_reads_any_more(
    web: Web, configured: httpx.AsyncClient, history: int, listening: str, database_url: str
) -> None:
    engine = create_engine(database_url)
    with engine.connect() as lock:
        headers = {**configured.headers}
        async with (
            httpx.AsyncClient(base_url=listening, headers=headers, trust_env=False) as client,
            client.stream("POST", "/api/v1/rules/backtest", json={}) as answer,
        ):
            lines = answer.aiter_lines()
            lock.execute(text("LOCK TABLE ledger.series IN ACCESS EXCLUSIVE MODE"))
            assert json.loads(await anext(lines))["type"] == "started"
            async with asyncio.timeout(20):
                while len(workers()) < web.replays.processes:
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            while workers():
                await asyncio.sleep(0.05)
        lock.rollback()
    engine.dispose()
    *_, result = await backtest(configured)
    assert result["series"] == history


async def test_what_breaks_off_is_said_in_the_stream(
    web: Web, configured: httpx.AsyncClient, history: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert history
    web.replays.url = web.replays.url.replace("/test_", "/gone_")
    *_, last = await backtest(configured)
    assert (last["type"], last["problem"]["status"]) == ("problem", 503)
    assert last["problem"]["action"]
    monkeypatch.setattr(replays, "WAITING", 0)
    *_, last = await backtest(configured)
    assert last["problem"]["title"] == "Too many backtests are under way"
    assert (await configured.post("/api/v1/rules/overlaps", json={})).status_code == 503


async def test_rules_are_tried_on_a_file_of_which_only_the_header_is_needed(
    configured: httpx.AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "one.dcm"
    write_instance(path)
    whole = path.read_bytes()
    for head, truncated in ((whole, False), (whole[:2000], True)):
        ask = {"file": base64.b64encode(head).decode(), "truncated": truncated, "tags": {"source.aet": ["MR01"]}}
        answer = (await configured.post("/api/v1/rules/test", json=ask)).json()
        assert [each["target"] for each in answer["deliveries"]] == ["pacs"]
        assert answer["results"][0]["explanation"]["clauses"][0]["seen"] == ["MR"]
    for wrong, word in (("no base64!", "base64"), (base64.b64encode(b"x" * 500).decode(), "DICM")):
        answer = await configured.post("/api/v1/rules/test", json={"file": wrong})
        assert answer.status_code == 422
        assert word in answer.json()["errors"][0]["message"]
    short = await configured.post(
        "/api/v1/rules/test", json={"file": base64.b64encode(whole[:400]).decode(), "truncated": True}
    )
    assert (short.status_code, "send more" in short.text) == (422, True)
    big = await configured.post("/api/v1/rules/test", json={"file": "A" * 5_000_000})
    assert big.status_code == 413


def write_instance(path: Path) -> None:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.3", "1.2.3.1", "MR"
    data.PatientName, data.Rows, data.Columns, data.BitsAllocated = "PHANTOM^ONE", 64, 64, 16
    data.PixelRepresentation, data.SamplesPerPixel, data.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    data.BitsStored, data.HighBit, data.PixelData = 16, 15, b"\0" * 8192
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = data.SOPClassUID, "1.2.3.4"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)


async def test_a_test_shows_the_deliveries_dry_runs_and_failures(
    configured: httpx.AsyncClient, make_ledger: Any
) -> None:
    make_ledger()
    dry = {**BRAIN, "slug": "dry", "state": "dry_run"}
    broken = {**BRAIN, "slug": "broken", "expression": "Modality =="}
    both = {**BRAIN, "targets": ["pacs", "ai", "gone"], "priority": "urgent"}
    ask = {"rules": {"rules": [both, dry, broken]}, "series_uid": STORED}
    answer = (await configured.post("/api/v1/rules/test", json=ask)).json()
    assert [(each["target"], each["is"], each["priority"]) for each in answer["deliveries"]] == [
        ("pacs", "ready", "urgent"),
        ("ai", "paused", "urgent"),
        ("gone", "not configured", "urgent"),
    ]
    assert (answer["dry_runs"], [each["rule"] for each in answer["failures"]]) == (["dry"], ["broken"])
    assert (answer["what"], answer["revision"]) == (f"series {STORED}", None)
    clause = answer["results"][0]["explanation"]["clauses"][0]
    assert (clause["outcome"], clause["seen"], clause["line"], clause["column"]) == ("true", ["MR"], 1, 1)
    one = {"expression": "Modality is present", "tags": {"(0008,0060)": ["CT"]}, "at": "2026-01-01T00:00:00Z"}
    answer = (await configured.post("/api/v1/rules/test", json=one)).json()
    assert (answer["results"][0]["verdict"], answer["at"][:10]) == ("match", "2026-01-01")


async def test_what_cannot_be_tested_is_refused(configured: httpx.AsyncClient, make_ledger: Any) -> None:
    make_ledger()
    asks: list[tuple[dict[str, Any], int]] = [
        ({}, 422),
        ({"series_uid": "1.2.3.999"}, 404),
        ({"series_uid": "no uid at all'; --"}, 404),
        ({"series_uid": "1", "file": "AA=="}, 422),
        ({"tags": {"Modality": "MR"}}, 422),
        ({"tags": {f"T{n}": [] for n in range(501)}}, 422),
        ({"tags": {}, "rules": {"rules": []}, "expression": "x"}, 422),
        ({"tags": {}, "at": "2026-01-01T00:00:00"}, 422),
    ]
    for ask, status in asks:
        answer = await configured.post("/api/v1/rules/test", json=ask)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), ask
        assert answer.json()["action"]


async def test_bodies_that_are_no_json_are_refused(configured: httpx.AsyncClient) -> None:
    for path in ("check", "test", "backtest", "overlaps"):
        for body in (b"{", b"[]", b"\xff\xfe", b'"x"'):
            answer = await configured.post(
                f"/api/v1/rules/{path}", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code in (400, 422), (path, body, answer.status_code)
            assert answer.headers["content-type"] == "application/problem+json"
    big = json.dumps({"rules": {"rules": [{**BRAIN, "comment": "x" * 5_000_000}]}}).encode()
    assert (await configured.post("/api/v1/rules/check", content=big)).status_code == 413


async def test_a_check_names_rule_line_column_and_suggestion_and_runs_the_test_cases(
    configured: httpx.AsyncClient,
) -> None:
    case = {"name": "ct", "tags": {"Modality": ["CT"]}, "verdict": "match"}
    rules = [{**BRAIN, "cases": [case], "state": "draft"}, {**BRAIN, "slug": "b", "expression": "Modality = 1"}]
    answer = (await configured.post("/api/v1/rules/check", json={"rules": {"rules": rules}})).json()
    problem = answer["problems"][0]
    assert (answer["valid"], problem["rule"], problem["line"], problem["column"]) == (False, "b", 1, 10)
    assert [(each["rule"], each["case"], each["passed"]) for each in answer["cases"]] == [("brain", "ct", False)]
    assert "test case 'ct' fails: expected match, but it is no match" in answer["warnings"][0]["message"]
    answer = (
        await configured.post("/api/v1/rules/check", json={"rules": {"rules": [{**BRAIN, "cases": [case]}]}})
    ).json()
    assert (answer["valid"], answer["problems"][0]["case"]) == (False, "ct")
    answer = (await configured.post("/api/v1/rules/check", json={"rules": {"rules": [{"slug": 7}]}})).json()
    assert (answer["valid"], answer["problems"][0]["field"]) == (False, "rules[0].slug")


async def test_a_rule_whose_test_case_fails_cannot_be_made_active(configured: httpx.AsyncClient) -> None:
    case = {"name": "thin CT", "tags": {"Modality": ["CT"]}, "verdict": "match"}
    failing = {**BRAIN, "cases": [case]}
    answer = await put(configured, [failing], 1)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    [error] = answer.json()["errors"]
    assert (error["field"], error["rule"], error["case"]) == ("rules[0].cases[0]", "brain", "thin CT")
    assert (error["clauses"][0]["text"], error["clauses"][0]["outcome"]) == ('Modality == "MR"', "false")
    assert error["clauses"][0]["seen"] == ["CT"]
    for number, state in enumerate(("draft", "dry_run", "paused"), 1):
        assert (await put(configured, [{**failing, "state": state}], number)).status_code == 200
    assert (await put(configured, [failing], 4)).status_code == 422
    good = {**BRAIN, "cases": [{**case, "verdict": "no_match", "targets": []}]}
    assert (await put(configured, [good], 4)).status_code == 200
    restored = await configured.post("/api/v1/rules/revisions/2/restore", headers={"if-match": '"5"'})
    assert restored.status_code == 200, "a draft may be restored whatever its cases say"


async def put(api: httpx.AsyncClient, rules: list[Any], revision: int) -> httpx.Response:
    headers = {"if-match": f'"{revision}"'}
    return await api.put("/api/v1/rules", json={"rules": rules}, headers=headers, params={"comment": f"on {revision}"})


async def test_of_two_administrators_who_save_at_once_one_is_told(configured: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(put(configured, [{**BRAIN, "name": f"n{n}"}], 1) for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]


async def test_any_two_revisions_are_compared_by_rule_field_and_clause(
    configured: httpx.AsyncClient, make_ledger: Any
) -> None:
    make_ledger()
    thin = {**BRAIN, "expression": 'Modality == "MR" and SliceThickness <= 1.5', "priority": "urgent"}
    await put(configured, [thin, {**BRAIN, "slug": "b"}], 1)
    await put(configured, [{**BRAIN, "slug": "b"}], 2)
    path = "/api/v1/rules/revisions/compare"
    found = (await configured.get(path, params={"from": 1, "to": 2})).json()
    assert (found["from"]["revision"], found["to"]["comment"]) == (1, "on 1")
    assert [(each["what"], each["rule"]) for each in found["differences"]] == [("changed", "brain"), ("added", "b")]
    fields = {field["field"]: field for field in found["differences"][0]["fields"]}
    assert fields["expression"]["clauses"] == [{"what": "added", "clause": "SliceThickness <= 1.5"}]
    present = (await configured.get(path, params={"from": 1})).json()
    assert (present["to"]["revision"], present["differences"][-1]["what"]) == (3, "removed")
    assert (await configured.get(path, params={"from": 0, "to": 1})).json()["differences"][0]["what"] == "added"
    assert (await configured.get(path, params={"from": 1, "to": 9})).status_code == 404
    for wrong in ({}, {"from": "x"}, {"from": -1}, {"from": 10**20}):
        assert (await configured.get(path, params=wrong)).status_code == 400, wrong


async def test_a_draft_is_tried_as_if_it_were_active(configured: httpx.AsyncClient, history: int) -> None:
    draft = {**BRAIN, "slug": "ct", "expression": 'Modality == "CT"', "targets": ["ai"], "state": "draft"}
    ask: dict[str, Any] = {"rules": {"rules": [BRAIN, draft]}}
    *_, asleep = await backtest(configured, **ask)
    *_, awake = await backtest(configured, **ask, activate=["ct"])
    assert [(r["matched"], r["change"]) for r in asleep["rules"]] == [(134, "same"), (133, "new")]
    assert (asleep["changed"]["count"], awake["changed"]["count"]) == (0, 133)
    assert [(t["target"], t["gained"]) for t in awake["targets"]] == [("ai", 133), ("pacs", 0)]
    tags = {"tags": {"Modality": ["CT"]}}
    assert (await configured.post("/api/v1/rules/test", json={**ask, **tags})).json()["outcome"] == "unmatched"
    active = (await configured.post("/api/v1/rules/test", json={**ask, **tags, "activate": ["ct"]})).json()
    assert [each["target"] for each in active["deliveries"]] == ["ai"]
    for path in ("test", "backtest", "overlaps"):
        extra = tags if path == "test" else {}
        wrong = await configured.post(f"/api/v1/rules/{path}", json={**ask, **extra, "activate": ["gone"]})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "activate")
    assert history == 400


async def test_an_editor_is_told_the_fields_and_what_the_policies_add(
    configured: httpx.AsyncClient, tmp_path: Path
) -> None:
    words = (await configured.get("/api/v1/rules/fields")).json()
    fields = {field["name"]: field for field in words["fields"]}
    assert fields["SliceThickness"]["type"] == "number"
    assert "contains" in [each["operator"] for each in words["types"]["text"]["operators"]]
    assert not fields["BitsStored"]["collected"]
    check = (await configured.post("/api/v1/rules/check", json={"expression": "BitsStored == 16"})).json()
    assert "extra tag" in check["warnings"][0]["message"]
    saved = await configured.put("/api/v1/policies", json={"extra_tags": ["BitsStored"]}, headers={"if-match": '"0"'})
    assert saved.status_code == 200
    words = (await configured.get("/api/v1/rules/fields")).json()
    assert [field["collected"] for field in words["fields"] if field["name"] == "BitsStored"] == [True]
    write_instance(tmp_path / "one.dcm")
    file = base64.b64encode((tmp_path / "one.dcm").read_bytes()).decode()
    ask = {"file": file, "expression": "BitsStored == 16"}
    assert (await configured.post("/api/v1/rules/test", json=ask)).json()["results"][0]["verdict"] == "match"


async def test_viewers_may_use_the_tools_but_not_save(configured: httpx.AsyncClient, app: Any, history: int) -> None:
    made = (await configured.post("/api/v1/tokens", json={"name": "v", "role": "viewer"})).json()
    headers = {"authorization": f"Bearer {made['token']}", "if-match": '"1"'}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hermes.test") as client:
        client.headers.update(headers)
        assert (await backtest(client))[-1]["series"] == history
        for path, ask in (("check", {"expression": "Rows > 1"}), ("test", {"tags": {}}), ("overlaps", {})):
            assert (await client.post(f"/api/v1/rules/{path}", json=ask)).status_code == 200
        assert (await client.get("/api/v1/rules/revisions/compare?from=0")).status_code == 200
        assert (await client.put("/api/v1/rules", json={"rules": []})).status_code == 403
        assert (await client.post("/api/v1/rules/revisions/1/restore")).status_code == 403


def test_the_document_names_what_a_case_can_expect() -> None:
    schema = json.dumps(Rule.model_json_schema())
    assert "no_match" in schema


FORM = {
    "revision": "1",
    "name": "Brain",
    "slug": "brain",
    "state": "active",
    "action": "route",
    "priority": "normal",
    "then": "continue",
    "scope": "series",
    "targets": "pacs",
    "expression": 'Modality == "MR"',
}
CASE = {"case-0-name": "a <b>CT</b>", "case-0-tags": "Modality = CT\nImageType = A\\B", "case-0-verdict": "match"}


async def test_test_cases_are_kept_in_the_editor_and_one_that_fails_is_shown_with_its_reason(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    page = await admin.post("/rules/brain", {**FORM, **CASE})
    assert "expected match, but it is no match" in page.text
    assert "a &lt;b&gt;CT&lt;/b&gt;" in page.text
    assert "<b>CT" not in page.text
    assert (await configured.get("/api/v1/rules")).headers["etag"] == '"1"'
    assert (await admin.post("/rules/brain", {**FORM, **CASE, "state": "draft"})).status_code == 303
    assert "1 of 1 test case fail" in (await admin.get("/rules")).text
    good = {**FORM, **CASE, "revision": "2", "case-0-verdict": "no_match", "case-0-targets": "nowhere"}
    good |= {
        "notifications": "matched",
        "case-1-name": "MR",
        "case-1-tags": "Modality = MR",
        "case-1-targets": "pacs",
        "case-1-at": "2026-01-01T00:00Z",
    }
    assert (await admin.post("/rules/brain", good)).status_code == 303
    [rule] = (await configured.get("/api/v1/rules")).json()["rules"]
    assert [(case["name"], case["targets"]) for case in rule["cases"]] == [("a <b>CT</b>", []), ("MR", ["pacs"])]
    assert rule["cases"][0]["tags"]["ImageType"] == ["A", "B"]
    assert rule["notifications"] == ["matched"]
    edited = (await admin.get("/rules/brain")).text
    assert 'value="matched" checked' in edited
    assert "ImageType = A\\B" in edited
    assert edited.count(">passes<") == 2
    wrong = {**good, "revision": "3", "case-1-tags": "no equals sign"}
    assert "write Keyword = value" in (await admin.post("/rules/brain", wrong)).text
    removed = {**good, "revision": "3", "case-0-remove": "yes"}
    assert (await admin.post("/rules/brain", removed)).status_code == 303
    assert len((await configured.get("/api/v1/rules")).json()["rules"][0]["cases"]) == 1


async def test_the_pages_try_a_draft_on_a_stored_series_a_file_and_the_last_days(
    admin: Any, configured: httpx.AsyncClient, history: int, tmp_path: Path
) -> None:
    draft = {**FORM, "expression": 'Modality == "MR" and SliceThickness <= 1.5'}
    tried = await admin.post("/rules/_test", {**draft, "series": "1.2.3.3"})
    assert "Try a draft of brain" in tried.text
    assert "SliceThickness &lt;= 1.5" in tried.text
    assert "Asked for" not in tried.text, "nothing was done"
    page = await admin.post("/rules/_backtest", {**draft, "days": "30"})
    assert "Backtest of a draft of brain" in page.text
    assert re.search(r"<strong>400</strong><span>series in", page.text)
    assert re.search(r'href="/series/1\.2\.3\.\d+"', page.text)
    assert history == 400
    assert "is not a SliceThickness" not in page.text
    active = await admin.post("/rules/_backtest", {"days": "30"})
    assert "Backtest of the active rules" in active.text
    for days, word in (("0", "between 1 and"), ("soon", "whole number")):
        assert word in (await admin.post("/rules/_backtest", {"days": days})).text
    broken = await admin.post("/rules/_backtest", {**draft, "expression": "Modality ="})
    assert "The draft cannot be evaluated" in broken.text
    assert "no series 1.2.9 is in the history" in (await admin.get("/rules/_test?series=1.2.9")).text
    assert (await configured.get("/api/v1/rules")).headers["etag"] == '"1"'
    write_instance(tmp_path / "one.dcm")
    headers = {"origin": admin.origin, "sec-fetch-site": "same-origin"}
    content = (tmp_path / "one.dcm").read_bytes()
    form = {"_csrf": admin.csrf, "tags": "source.aet = MR01"}
    sent = await admin.http.post("/rules/_test", data=form, files={"file": ("one.dcm", content)}, headers=headers)
    assert "a file of series 1.2.3.1" in sent.text
    both = await admin.http.post(
        "/rules/_test", data={**form, "series": "1.2.3.3"}, files={"file": ("one.dcm", content)}, headers=headers
    )
    assert "either a stored series or a file" in both.text
    forged = await admin.http.post("/rules/_test", data={"_csrf": "0"}, files={"file": ("x", b"x")}, headers=headers)
    assert forged.status_code == 403


async def test_two_revisions_are_compared_on_a_page_and_the_older_one_restored(
    admin: Any, configured: httpx.AsyncClient, make_ledger: Any
) -> None:
    make_ledger()
    text = 'Modality == "MR" and SeriesDescription contains "<script>"'
    await put(
        configured, [{**BRAIN, "expression": text, "cases": [{"name": "x", "tags": {}, "verdict": "unknown"}]}], 1
    )
    assert "/rules/_compare?from=1&amp;to=2" in (await admin.get("/history/rules")).text
    page = (await admin.get("/rules/_compare?from=1&to=2")).text
    assert "+ SeriesDescription contains &#34;&lt;script&gt;&#34;" in page
    assert "<script>" not in page
    assert "Restore revision 1 as revision 3" in page
    assert (await admin.get("/rules/_compare?from=1&to=x")).status_code == 404
    assert (await admin.post("/history/rules/1/restore", {"revision": "2"})).status_code == 303


async def test_dry_runs_and_failures_are_shown_on_the_page_of_a_series(web: Web, admin: Any, make_ledger: Any) -> None:
    make_ledger()
    dry = {"slug": "dry", "name": "Dry <i>", "state": "dry_run", "status": "would_fire", "targets": ["ai"]}
    failed = {"slug": "broken", "name": "Broken", "state": "active", "status": "failed", "reason": "it is no rule"}
    problem = "rule broken failed: it is no rule"
    await web.database.run(_change_decision, [dry, failed], problem)
    page = (await admin.get(f"/series/{STORED}")).text
    assert "<strong><bdi>Dry &lt;i&gt;</bdi></strong> would have sent it to ai. Nothing was sent for it." in page
    assert problem in page
    assert page.count("it is no rule") >= 2


def _change_decision(connection: Connection, rules: list[dict[str, Any]], problem: str) -> None:
    table = ledger.decisions
    [found] = connection.execute(select(table.c.decision).where(table.c.series_uid == STORED)).scalars()
    changed = {**found, "rules": [*found["rules"], *rules], "problems": [problem]}
    connection.execute(update(table).where(table.c.series_uid == STORED).values(decision=changed))
