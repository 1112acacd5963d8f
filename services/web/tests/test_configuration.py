"""Configuration documents: ETag, errors by field, two at once, said again after a crash."""

import asyncio
from typing import Any

import httpx
import pytest

from hermes_common.config import Kind, Policies
from hermes_common.ids import derived_id
from hermes_common.runtime.bus import Bus
from hermes_web.adapters.configstore import ConfigStore
from hermes_web.web import Web

PACS = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "127.0.0.1", "port": 1, "called_aet": "PACS"}
BRAIN = {"slug": "brain", "name": "Brain", "expression": 'Modality == "MR"', "targets": ["pacs"]}


async def put(api: httpx.AsyncClient, kind: str, document: Any, revision: int | None) -> httpx.Response:
    headers = {} if revision is None else {"if-match": f'"{revision}"'}
    return await api.put(f"/api/v1/{kind}", json=document, headers=headers, params={"comment": "a test"})


@pytest.fixture
async def configured(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """An API with a target and a rule that uses it."""
    assert (await put(api, "targets", {"targets": [PACS]}, 0)).status_code == 200
    assert (await put(api, "rules", {"rules": [BRAIN]}, 0)).status_code == 200
    return api


async def test_what_is_read_can_be_saved_and_the_etag_is_the_revision(configured: httpx.AsyncClient) -> None:
    for kind in Kind:
        read = await configured.get(f"/api/v1/{kind.value}")
        number = int(read.headers["etag"].strip('"'))
        saved = await put(configured, kind.value, read.json(), number)
        assert (saved.status_code, saved.headers["etag"]) == (200, f'"{number + 1}"')
        assert saved.json() == read.json()


async def test_saving_without_if_match_is_428_and_on_an_old_revision_412(configured: httpx.AsyncClient) -> None:
    assert (await put(configured, "rules", {"rules": []}, None)).status_code == 428
    late = await put(configured, "rules", {"rules": []}, 0)
    assert late.status_code == 412
    assert "saved by token automation" in late.json()["detail"]
    assert len((await configured.get("/api/v1/rules")).json()["rules"]) == 1


async def test_of_two_saves_at_once_one_wins_and_the_other_is_told(configured: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(put(configured, "policies", {}, 0) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]


@pytest.mark.parametrize(
    ("kind", "document", "field", "word"),
    [
        ("rules", {"rules": [{**BRAIN, "expression": 'Modality = "MR"'}]}, "rules[0].expression", "="),
        ("rules", {"rules": [BRAIN, {**BRAIN, "slug": "b", "targets": ["gone"]}]}, "rules[1].targets[0]", "gone"),
        ("rules", {"rules": [{**BRAIN, "priority": "soon"}]}, "rules[0].priority", "urgent"),
        ("rules", {"rules": [{**BRAIN, "slug": "new"}]}, "rules[0].slug", "new"),
        ("rules", {"rules": [{**BRAIN, "colour": "red"}]}, "rules[0].colour", "not permitted"),
        ("rules", {"rules": [BRAIN, BRAIN]}, "rules", "brain"),
        ("targets", {"targets": []}, "targets", "brain"),
        ("targets", {"targets": [{**PACS, "port": 70000}]}, "targets[0].port", "65535"),
        (
            "targets",
            {"targets": [PACS, {"kind": "folder", "slug": "f", "name": "f", "path": "../x"}]},
            "targets[1].path",
            "..",
        ),
        ("sources", {"sources": [{"slug": "a", "name": "a"}]}, "sources[0]", "calling_aet"),
        ("policies", {"completion": {"quiet_period": "soon"}}, "completion.quiet_period", "10m"),
        ("policies", {"extra_tags": ["Modality", "Modalitty"]}, "extra_tags", "did you mean Modality"),
    ],
)
async def test_each_mistake_is_named_with_its_field(
    configured: httpx.AsyncClient, kind: str, document: Any, field: str, word: str
) -> None:
    before = await configured.get(f"/api/v1/{kind}")
    answer = await put(configured, kind, document, int(before.headers["etag"].strip('"')))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    errors = answer.json()["errors"]
    assert [item for item in errors if item["field"] == field and word in item["message"]], errors
    assert (await configured.get(f"/api/v1/{kind}")).headers["etag"] == before.headers["etag"]


async def test_a_mistake_in_an_expression_has_its_place_and_a_suggestion(configured: httpx.AsyncClient) -> None:
    rule = {**BRAIN, "expression": 'Modality == "MR"\n  and SeriesDescriptin contains "x"'}
    error = (await put(configured, "rules", {"rules": [rule]}, 1)).json()["errors"][0]
    assert (error["line"], error["column"], error["suggestion"]) == (2, 7, "SeriesDescription")


async def test_attributes_to_read_are_added_on_the_page_of_policies(admin) -> None:
    form = {
        "completion.quiet_period": "10s", "retention.delivered": "7d", "retention.unmatched": "14d",
        "retention.discarded": "14d", "revision": "0", "extra_tags": "EchoNumbers\r\n\r\n (0019,100c) \r\n",
    }  # fmt: skip
    assert (await admin.post("/policies", form)).status_code == 303
    assert "EchoNumbers\n(0019,100C)</textarea>" in (await admin.get("/policies")).text
    wrong = await admin.post("/policies", {**form, "revision": "1", "extra_tags": "EchoNumbers\n<b>PixelData"})
    assert wrong.status_code == 200
    assert "there is no attribute &lt;b&gt;PixelData" in wrong.text
    assert "EchoNumbers\n&lt;b&gt;PixelData</textarea>" in wrong.text


async def test_an_old_revision_is_restored_as_a_new_one(configured: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()
    await put(configured, "rules", {"rules": []}, 1)
    items = (await configured.get("/api/v1/rules/revisions")).json()["items"]
    assert [item["revision"] for item in items] == [2, 1]
    restored = await configured.post("/api/v1/rules/revisions/1/restore", headers={"if-match": '"2"'})
    assert (restored.headers["etag"], restored.json()["rules"][0]["slug"]) == ('"3"', "brain")
    assert (await configured.get("/api/v1/rules/revisions/9")).status_code == 404


async def test_a_save_that_a_crash_kept_silent_is_said_at_the_next_start(web: Web, bus: Bus) -> None:
    silent = ConfigStore(bus)
    silent._say_pending = _nothing  # type: ignore[method-assign]
    await silent.save(Kind.POLICIES, Policies(), 0, "admin", "")
    assert await said(bus) == []
    again = asyncio.create_task(ConfigStore(bus).run())
    async with asyncio.timeout(10):
        while not await said(bus):
            await asyncio.sleep(0.05)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert await said(bus) == [derived_id("config", "policies", "1")]


async def _nothing() -> None:
    """Stand for a crash between saving and saying."""


async def said(bus: Bus) -> list[str]:
    return [message.headers["ce-id"] async for message in bus.read("HERMES", "hermes.v1.config.changed.>", 0)]


async def test_the_rule_form_keeps_what_was_typed_and_shows_the_place(admin, configured: httpx.AsyncClient) -> None:
    form = {"revision": "1", "name": "CT & co", "expression": 'Modality = "CT"', "targets": "pacs", "state": "active"}
    form |= {"action": "route", "priority": "normal", "then": "continue", "scope": "series"}
    page = await admin.post("/rules/new", form)
    assert "Line 1, column 10" in page.text
    assert "CT &amp; co" in page.text
    assert "         ^" in page.text
    assert (await admin.post("/rules/new", {**form, "expression": 'Modality == "CT"'})).status_code == 303
    assert (await admin.post("/rules/ct-co/up", {"revision": "2"})).status_code == 303
    rules = (await configured.get("/api/v1/rules")).json()["rules"]
    assert [rule["slug"] for rule in rules] == ["ct-co", "brain"]
    late = await admin.post("/rules/brain", {**form, "expression": 'Modality == "CT"'})
    assert "Somebody else" in late.text or "your change was not saved" in late.text


async def test_rules_are_tried_on_edited_tags_and_on_a_stored_series(
    configured: httpx.AsyncClient, make_ledger
) -> None:
    make_ledger()
    tried = (await configured.post("/api/v1/rules/test", json={"tags": {"Modality": ["MR"]}})).json()
    assert (tried["outcome"], tried["targets"][0]["target"]) == ("routed", "pacs")
    ask = {"series_uid": "1.2.826.0.1.3680043.2.1125.1", "tags": {"Modality": ["CT"]}}
    assert (await configured.post("/api/v1/rules/test", json=ask)).json()["outcome"] == "unmatched"
    check = (await configured.post("/api/v1/rules/check", json={"expression": "Modality =="})).json()
    assert (check["valid"], check["problems"][0]["line"]) == (False, 1)


async def test_a_target_is_tested_step_by_step_and_paused(configured: httpx.AsyncClient, tmp_path) -> None:
    folder = {"kind": "folder", "slug": "box", "name": "Box", "path": str(tmp_path)}
    assert (await put(configured, "targets", {"targets": [PACS, folder]}, 1)).status_code == 200
    good = (await configured.post("/api/v1/targets/box/test")).json()
    assert good["ok"]
    assert list(tmp_path.iterdir()) == []
    bad = (await configured.post("/api/v1/targets/pacs/test")).json()
    assert [step["ok"] for step in bad["steps"]] == [True, False]
    assert "check the address" in bad["steps"][-1]["detail"]
    assert (await configured.post("/api/v1/targets/box/pause", json={})).json()["enabled"] is False
    assert (await configured.post("/api/v1/targets/box/pause")).status_code == 409
