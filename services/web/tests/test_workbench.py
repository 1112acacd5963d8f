"""The workbench of rules at the server: live trying, values seen, review of two changes, restore, studies, import."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, insert, text

from hermes_common import ledger

PACS = {"kind": "folder", "slug": "pacs", "name": "PACS", "path": "/tmp/pacs"}
OFF = {"kind": "folder", "slug": "off", "name": "Off", "path": "/tmp/off", "enabled": False}
BRAIN = {"slug": "brain", "name": "Brain", "expression": 'Modality == "MR"', "targets": ["pacs"]}
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
AT = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
async def configured(api: httpx.AsyncClient) -> httpx.AsyncClient:
    for kind, document in (("targets", {"targets": [PACS, OFF]}), ("rules", {"rules": [BRAIN]})):
        saved = await api.put(f"/api/v1/{kind}", json=document, headers={"if-match": '"0"'})
        assert saved.status_code == 200, saved.text
    return api


@pytest.fixture
def history(database_url: str) -> None:
    """Two studies of two series each, one MR and one CT; the rule ``dry`` would have fired for one of them."""
    series = [row(number) for number in range(4)]
    dry = {"slug": "dry", "status": "would_fire", "action": "route", "targets": ["pacs"]}
    fired = {"slug": "brain", "status": "fired", "action": "route", "targets": ["pacs"]}
    decisions = [decision("1.2.0", [fired, dry]), decision("1.2.1", [{**fired, "status": "failed"}])]
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
        ledger.metadata.create_all(connection)
        connection.execute(insert(ledger.series), series)
        connection.execute(insert(ledger.decisions), decisions)
    engine.dispose()


def row(number: int) -> dict[str, Any]:
    modality = ("MR", "CT")[number % 2]
    tags = {"Modality": [modality], "SeriesDescription": [f"<b>t{number}</b>"], "PatientName": ["Doe^Jane"]}
    at = AT - timedelta(minutes=number)
    return {
        "series_uid": f"1.2.{number}",
        "study_uid": f"1.{number // 2}",
        "state": "routed",
        "last_seq": number,
        "instances": 5 * number,
        "octets": 10,
        "calling_aet": "AET",
        "called_aet": "H",
        "address": "10.0.0.1",
        "modality": modality,
        "series_description": f"<b>t{number}</b>",
        "tags": tags,
        "decided_at": at,
        "first_received_at": at,
        "last_received_at": at,
    }


def decision(uid: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "event_id": uid,
        "batch_id": uid,
        "series_uid": uid,
        "kind": "rules",
        "outcome": "routed",
        "revision": 1,
        "decision": {"rules": rules},
        "decided_at": AT,
        "seq": 1,
    }


async def put(api: httpx.AsyncClient, rules: list[dict[str, Any]], revision: int) -> httpx.Response:
    saved = await api.put("/api/v1/rules", json={"rules": rules}, headers={"if-match": f'"{revision}"'})
    assert saved.status_code == 200, saved.text
    return saved


@pytest.mark.usefixtures("history")
async def test_what_is_in_the_form_is_tried_on_the_last_series_and_studies(admin: Any, configured: Any) -> None:
    told = (await admin.post("/rules/_live", {**FORM, "series": "1.2.1"})).json()
    assert told["check"]["outline"]["root"]["values"] == ["MR"]
    tried = told["tried"]
    assert (tried["looked_at"], tried["match"], tried["chosen"]["verdict"]) == (4, 2, "no_match")
    assert tried["chosen"]["clauses"][0]["seen"] == ["CT"]
    study = {**FORM, "scope": "study", "expression": "count series (series.instances >= 10) >= 1", "series": "1.2.0"}
    tried = (await admin.post("/rules/_live", study)).json()["tried"]
    assert (tried["looked_at"], tried["match"], tried["chosen"]["study_uid"]) == (2, 1, "1.0")
    broken = (await admin.post("/rules/_live", {**FORM, "name": "", "slug": "", "expression": "Modality ="})).json()
    assert (broken["tried"], broken["check"]["problems"][0]["line"]) == ({}, 1)
    gone = (await admin.post("/rules/_live", {**FORM, "series": "1.9"})).json()
    assert "no series 1.9 is in the history" in gone["problem"]


@pytest.mark.usefixtures("history")
async def test_masked_names_stay_masked_in_what_is_tried_and_completed(admin: Any, configured: Any) -> None:
    admin.http.cookies.set("hermes-view", "system.utc.masked")
    told = await admin.post("/rules/_live", {**FORM, "expression": 'PatientName contains "x"'})
    assert "Doe" not in told.text
    headers = {"x-csrf-token": admin.csrf}
    assert (await admin.get("/api/v1/rules/values?field=PatientName", headers=headers)).json()["values"] == []


async def test_test_cases_are_run_while_they_are_typed_and_one_that_cannot_be_read_says_why(
    admin: Any, configured: Any
) -> None:
    cases = {
        "case-0-name": "MR",
        "case-0-tags": "Modality = MR",
        "case-0-verdict": "no_match",
        "case-2-name": "odd",
        "case-2-tags": "nonsense",
        "case-2-verdict": "match",
        "case-3-name": "open",
        "case-3-tags": "Modality = MR",
        "case-4-name": "MR to",
        "case-4-tags": "Modality = MR",
        "case-4-targets": "pacs",
    }
    told = (await admin.post("/rules/_live", {**FORM, **cases, "name": ""})).json()["cases"]
    assert [case["name"] for case in told] == ["MR", "odd", "open", "MR to"]
    assert "expected no match, but it is match" in told[0]["reason"]
    assert "write Keyword = value" in told[1]["problem"]
    assert "say which verdict" in told[2]["problem"]
    assert told[3]["passed"]


@pytest.mark.usefixtures("history")
async def test_values_lately_seen_come_with_their_number_and_by_a_part_of_them(configured: httpx.AsyncClient) -> None:
    async def values(field: str, part: str = "") -> list[tuple[str, int]]:
        found = await configured.get("/api/v1/rules/values", params={"field": field, "part": part})
        return [(each["value"], each["series"]) for each in found.json()["values"]]

    assert await values("Modality") == [("CT", 2), ("MR", 2)]
    assert await values("SeriesDescription", "T2<") == [("<b>t2</b>", 1)]
    assert await values("source.aet", "%") == []
    assert await values("source.aet") == [("AET", 4)]
    assert await values("Rows") == []
    assert (await configured.get("/api/v1/rules/values?field=Nothing")).status_code == 404


@pytest.mark.usefixtures("history")
async def test_a_draft_is_tried_on_the_past_and_rules_about_studies_on_studies(admin: Any, configured: Any) -> None:
    ask = {**FORM, "expression": 'Modality in ["MR", "CT"]', "days": "30"}
    lines = [json.loads(line) for line in (await admin.post("/rules/_live_backtest", ask)).text.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("started", "result")
    [rule] = lines[-1]["rules"]
    assert (rule["matched"], rule["gained"], rule["lost"], lines[-1]["studies"]) == (4, 2, 0, {"rules": []})
    study = {**ask, "slug": "whole", "name": "Whole", "scope": "study", "expression": 'any series (Modality == "CT")'}
    result = json.loads((await admin.post("/rules/_live_backtest", study)).text.splitlines()[-1])
    assert (result["studies"]["studies"], result["studies"]["rules"][0]["gained"]) == (2, 2)
    wrong = await admin.post("/rules/_live_backtest", {**ask, "expression": "Modality ="})
    assert wrong.status_code == 422


@pytest.mark.usefixtures("history")
async def test_a_rule_from_a_series_has_conditions_that_are_true_of_it_and_it_as_a_test_case(
    admin: Any, configured: Any
) -> None:
    page = (await admin.get("/rules/new?series=1.2.0")).text
    assert "Modality == &#34;MR&#34;\n and source.aet == &#34;AET&#34;" in page
    assert "Modality = MR" in page
    assert "<b>t0" not in page
    assert "Doe" not in page
    assert 'href="/rules/new?series=1.2.2"' in (await admin.get("/series/1.2.2")).text
    assert (await admin.get("/rules/new?series=1.9")).status_code == 404


@pytest.mark.usefixtures("history")
async def test_the_list_counts_what_fired_and_a_dry_run_says_what_it_would_have_sent(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    await put(configured, [BRAIN, {**BRAIN, "slug": "dry", "state": "dry_run"}], 1)
    hits = (await admin.get("/rules/_counts")).json()["hits"]
    assert (hits["brain"]["day"], hits["brain"]["week"], hits["brain"]["failed"]) == (1, 1, 1)
    assert (hits["dry"]["would"], hits["dry"]["week"]) == (1, 0)
    page = (await admin.get("/rules/dry")).text
    assert "What the dry run would have sent" in page
    assert 'href="/series/1.2.0#decisions"' in page


async def test_a_review_says_what_changes_and_what_speaks_against_it(admin: Any, configured: Any) -> None:
    failing = {"case-0-name": "CT", "case-0-tags": "Modality = CT", "case-0-verdict": "match"}
    page = (await admin.post("/rules/_review", {**FORM, **failing, "targets": "off", "then": "stop"})).text
    assert '<strong class="good-text">+ off</strong>' in page
    assert "target off is disabled" in page
    assert "expected match, but it is no match" in page
    assert re.search(r'value="active" disabled', page)
    wrong = (await admin.post("/rules/_review", {**FORM, "targets": "nowhere-1"})).text
    assert "there is no target &#39;nowhere-1&#39;" in wrong
    assert (await admin.post("/rules/_review", {**FORM, "is_new": "yes"})).text.count(
        "there is a rule &#39;brain&#39;"
    ) == 1
    back = (await admin.post("/rules/_edit", {**FORM, "expression": "a draft <i>"})).text
    assert "a draft &lt;i&gt;</textarea>" in back


async def test_two_changes_of_the_same_rule_are_both_kept_and_what_both_changed_is_asked_about(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    await put(configured, [{**BRAIN, "contact": "dept", "comment": "theirs"}], 1)
    mine = {**FORM, "name": "Mine", "comment": "mine"}
    page = (await admin.post("/rules/brain", mine)).text
    assert "Somebody else saved first." in page
    assert "because you had not touched it: <strong>contact</strong>" in page
    assert "You both changed the same" in page
    assert 'name="comment" value="mine"' in page
    again = (await admin.post("/rules/_review", {**mine, "take": "comment"})).text
    assert 'name="comment" value="theirs"' in again
    form = dict(re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"', again))
    form["expression"] = mine["expression"]
    saved = await admin.post("/rules/brain", {**form, "state": "active"})
    assert saved.status_code == 303, saved.text
    [rule] = (await configured.get("/api/v1/rules")).json()["rules"]
    assert (rule["name"], rule["contact"], rule["comment"]) == ("Mine", "dept", "theirs")


async def test_test_cases_that_both_added_stand_beside_each_other_one_in_a_line(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    theirs = {"name": "Theirs", "tags": {"Modality": ["CT"]}, "verdict": "no_match"}
    await put(configured, [{**BRAIN, "cases": [theirs]}], 1)
    mine = {"case-0-name": "Mine", "case-0-tags": "Modality = MR\nStudyDescription = brain", "case-0-verdict": "match"}
    page = (await admin.post("/rules/brain", {**FORM, **mine})).text
    both = page.split("You both changed the same")[1].split("</section>")[0]
    left, right = re.findall(r'<pre class="diff mono">(.*?)</pre>', both, re.DOTALL)
    assert "+ Theirs: Modality = CT" in left
    assert "+ Mine: Modality = MR, StudyDescription = brain" in right
    assert "Mine" not in left
    assert "Theirs" not in right


async def test_a_rule_that_was_removed_meanwhile_is_not_lost_with_what_was_typed(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    await put(configured, [], 1)
    page = (await admin.post("/rules/_review", FORM)).text
    assert "This rule itself was removed" in page
    assert (await admin.post("/rules/brain", {**FORM, "revision": "2"})).status_code == 404
    assert (await admin.post("/rules/brain", {**FORM, "revision": "2", "again": "yes"})).status_code == 303
    assert len((await configured.get("/api/v1/rules")).json()["rules"]) == 1


async def test_restoring_the_present_revision_saves_nothing(
    admin: Any, configured: httpx.AsyncClient, make_ledger: Any
) -> None:
    make_ledger()
    history = (await admin.get("/history/rules")).text
    assert "Compare revision" not in history
    assert "nothing to restore" in (await admin.get("/history/rules/1")).text
    answer = await admin.post("/history/rules/1/restore", {"revision": "1"})
    assert answer.headers["location"].endswith("done=unchanged")
    same = await configured.post("/api/v1/rules/revisions/1/restore", headers={"if-match": '"1"'})
    assert (same.status_code, same.headers["etag"]) == (200, '"1"')
    assert (await configured.post("/api/v1/rules/revisions/1/restore", headers={"if-match": '"9"'})).status_code == 412
    await put(configured, [], 1)
    assert "Compare revision" in (await admin.get("/history/rules")).text


async def test_a_rule_is_moved_to_a_place_and_moving_it_nowhere_saves_nothing(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    await put(configured, [{**BRAIN, "slug": slug} for slug in ("a", "b", "c")], 1)
    assert (await admin.post("/rules/c/move", {"revision": "2", "place": "1"})).headers["location"].endswith("saved")
    assert (
        (await admin.post("/rules/c/move", {"revision": "3", "place": "1"})).headers["location"].endswith("unchanged")
    )
    rules = (await configured.get("/api/v1/rules")).json()["rules"]
    assert [rule["slug"] for rule in rules] == ["c", "a", "b"]
    assert (await admin.post("/rules/c/move", {"revision": "3", "place": "x"})).status_code == 422


async def test_an_old_configuration_is_reported_on_before_it_is_added(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    old = {
        "targets": {"Archive": {"target_type": "folder", "folder": "/tmp/x"}},
        "rules": {"Brain": {"rule": "@Modality@ == 'MR'", "target": "Archive", "action": "route"}}
        | {"<i>": {"rule": "exec('x')", "target": "Archive", "action": "route"}},
    }
    headers = {"origin": admin.origin, "sec-fetch-site": "same-origin"}

    async def send(content: bytes, **form: str) -> httpx.Response:
        data = {"_csrf": admin.csrf, "state": "dry_run", **form}
        files = {"file": ("mercure.json", content)}
        answer: httpx.Response = await admin.http.post("/rules/_mercure", data=data, files=files, headers=headers)
        return answer

    report = await send(json.dumps(old).encode())
    assert "Not translated" in report.text
    assert "<i>" not in report.text
    assert "left as they are: brain" in report.text
    assert (await configured.get("/api/v1/rules")).headers["etag"] == '"1"'
    added = await send(json.dumps(old).encode(), do="add")
    assert (added.status_code, added.headers["location"]) == (303, "/rules?done=imported")
    targets = (await configured.get("/api/v1/targets")).json()["targets"]
    assert [target["slug"] for target in targets] == ["pacs", "off", "archive"]
    for content, reason in ((b"\xff", "not UTF-8"), (b"[]", "neither"), (b"{", "line 1")):
        assert reason in (await send(content)).text
    assert "choose a mercure.json" in (await admin.post("/rules/_mercure", {})).text


async def test_of_many_who_save_the_same_rule_at_once_one_is_saved_and_the_others_see_the_review(
    admin: Any, configured: httpx.AsyncClient
) -> None:
    forms = [{**FORM, "name": f"Brain {number}"} for number in range(4)]
    answers = await asyncio.gather(*(admin.post("/rules/brain", form) for form in forms))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 303]
    assert (await configured.get("/api/v1/rules")).headers["etag"] == '"2"'
    for answer in answers:
        assert answer.status_code == 303 or "Somebody else saved first." in answer.text
