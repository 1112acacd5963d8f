"""Configuration documents: ETag, errors by field, two at once, said again after a crash."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from hermes_common import subjects
from hermes_common.config import Kind, Policies, StowTarget
from hermes_common.ids import derived_id
from hermes_common.records import TargetRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.sealing import Sealer, opened
from hermes_common.targets import BasicAuth
from hermes_common.targettests import ASK, Step, TargetTestAsked, TargetTested
from hermes_web.adapters.configstore import ConfigStore
from hermes_web.errors import InvalidError
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


@pytest.mark.parametrize(
    "body",
    [
        b'{"\xc2\xb9": null}',
        b'{"\\u0664": null, "' + b"9" * 5000 + b'": [1]}',
        b'{"\\u00ab\\ud8cf\\uded9 \\udcee": null}',
        b'{"\\ud8cf\\uded9": {"\\u0000": [[2.4e16]]}, "": true}',
        b'{"a": "\xff"}',
    ],
    ids=["a digit that is no decimal", "digits without end", "half of a pair", "a pair and NUL", "no UTF-8"],
)
async def test_a_document_with_any_name_of_a_field_is_refused_and_said_to_be_wrong(
    api: httpx.AsyncClient, body: bytes
) -> None:
    for kind in Kind:
        headers = {"if-match": '"0"', "content-type": "application/json"}
        refused = await api.put(f"/api/v1/{kind.value}", content=body, headers=headers)
        said = refused.json()
        assert 400 <= refused.status_code < 500, (kind, said)
        assert said["status"] == refused.status_code
        assert said["detail"]
        assert said["action"]
        assert (await api.get(f"/api/v1/{kind.value}")).headers["etag"] == '"0"'


async def test_saving_without_if_match_is_428_and_on_an_old_revision_412(configured: httpx.AsyncClient) -> None:
    assert (await put(configured, "rules", {"rules": []}, None)).status_code == 428
    late = await put(configured, "rules", {"rules": []}, 0)
    assert late.status_code == 412
    assert "saved by token automation" in late.json()["detail"]
    assert len((await configured.get("/api/v1/rules")).json()["rules"]) == 1


async def test_reading_the_history_leaves_nothing_behind_on_the_bus(web: Web, configured: httpx.AsyncClient) -> None:
    assert (await put(configured, "targets", {"targets": [PACS]}, 1)).status_code == 200
    for _ in range(20):
        found = await web.config.history(Kind.TARGETS)
        assert [revision.revision for revision in found] == [2, 1]
    readers = await web.bus.js.consumers_info(f"KV_{subjects.CONFIG}")
    assert len(readers) == 0, "a bucket takes a thousand readers, and forgets them after minutes"


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
        ("rules", {"rules": [{**BRAIN, "colour": "red"}]}, "rules[0].colour", "no such field"),
        ("rules", {"rules": [BRAIN, BRAIN]}, "rules", "brain"),
        ("targets", {"targets": []}, "targets", "brain"),
        ("targets", {"targets": [{**PACS, "port": 70000}]}, "targets[0].port", "65535"),
        (
            "targets",
            {"targets": [PACS, {"kind": "folder", "slug": "f", "name": "f", "path": "../x"}]},
            "targets[1].path",
            "..",
        ),
        ("targets", {"targets": [PACS, {"kind": "ftp"}]}, "targets[1]", "there is no kind 'ftp'; it is one of 'dicom'"),
        ("targets", {"targets": [{**PACS, "host": "a b"}]}, "targets[0].host", "letters, digits and . _ : - only"),
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


async def test_a_document_that_is_nested_too_deeply_is_refused_in_words(configured: httpx.AsyncClient) -> None:
    before = await configured.get("/api/v1/rules")
    headers = {"If-Match": before.headers["etag"], "Content-Type": "application/json"}
    answer = await configured.put("/api/v1/rules", content=b"[" * 100_000, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "too deeply" in answer.json()["detail"]


async def test_a_state_that_does_not_exist_is_answered_with_those_that_do(configured: httpx.AsyncClient) -> None:
    answer = await configured.get("/api/v1/deliveries", params={"state": "bogus"})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("state: 'bogus' is not one of queued, sending, retrying,"), answer.json()


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


async def test_a_target_is_paused_and_resumed_with_a_reason_and_an_end(configured: httpx.AsyncClient) -> None:
    late = now() + timedelta(hours=1)
    paused = await configured.post(
        "/api/v1/targets/pacs/pause", json={"reason": "new disks", "until": late.isoformat()}
    )
    assert (paused.status_code, paused.json()["enabled"], paused.json()["pause"]["actor"]) == (
        200, True, "token automation",
    )  # fmt: skip
    [state] = (await configured.get("/api/v1/targets/states")).json()["items"]
    assert (state["state"], state["reason"]) == ("paused", "new disks")
    assert (await configured.post("/api/v1/targets/pacs/pause")).status_code == 409
    assert (await configured.post("/api/v1/targets/pacs/resume", json={"reason": "done"})).json()["pause"] is None
    assert (await configured.post("/api/v1/targets/pacs/resume")).status_code == 409
    past = await configured.post("/api/v1/targets/pacs/pause", json={"until": "2020-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["errors"][0]["field"]) == (422, "until")
    revisions = (await configured.get("/api/v1/targets/revisions")).json()["items"]
    assert [item["comment"] for item in revisions[:2]] == ["pacs: resumed; done", "pacs: paused; new disks"]


async def test_a_target_is_tested_by_a_dispatcher_and_without_one_the_answer_says_so(
    configured: httpx.AsyncClient, admin, bus: Bus
) -> None:
    assert "no dispatcher is running" in (await configured.post("/api/v1/targets/pacs/test")).json()["detail"]
    assert "no dispatcher is running" in (await admin.post("/targets/pacs/test")).text
    step = Step(name="resolve <b>", ok=False, milliseconds=1.5, detail="no such name")

    async def answer(message: Msg) -> None:
        asked = TargetTestAsked.model_validate_json(message.data)
        tested = TargetTested(target=asked.slug, ok=False, steps=[step], dispatcher="dispatcher@here")
        await message.respond(tested.model_dump_json().encode())

    await bus.nc.subscribe(ASK, cb=answer)
    assert (await configured.post("/api/v1/targets/pacs/test")).json()["steps"][0]["detail"] == "no such name"
    page = (await admin.post("/targets/pacs/test")).text
    assert "resolve &lt;b&gt;" in page
    assert "Made by dispatcher@here" in page


async def test_an_outage_that_the_dispatchers_found_is_shown(configured: httpx.AsyncClient, admin, bus: Bus) -> None:
    record = TargetRecord(target="pacs", outage="o", since=now(), reason="refused <i>", next_test_at=now())
    await bus.create("hermes_state", "target.pacs", record)
    [state] = (await configured.get("/api/v1/targets/states")).json()["items"]
    assert (state["state"], state["reason"]) == ("down", "refused <i>")
    assert "refused &lt;i&gt;" in (await admin.get("/targets/pacs")).text
    assert ">down<" in (await admin.get("/targets")).text
    assert ">down<" in (await admin.get("/")).text


SECRET = "planted-secret-0815"
STOW = {
    "kind": "stow", "slug": "dw", "name": "DW", "url": "https://dw.test/dicom-web",
    "auth": {"mode": "basic", "user": "u", "password": SECRET},
}  # fmt: skip


async def stored_targets(bus: Bus) -> str:
    raw = await bus.js.get_last_msg("KV_hermes_config", "$KV.hermes_config.targets")
    return (raw.data or b"").decode()


async def everything(web: Web, bus: Bus, api: httpx.AsyncClient, admin: Any) -> str:
    """Whatever the service stores, says or shows of the targets."""
    paths = ("targets", "targets/revisions", "targets/revisions/1", "targets/states", "openapi.json")
    found = [(await api.get(f"/api/v1/{path}")).text for path in paths]
    pages = ("/targets", "/targets/dw", "/history/targets", "/history/targets/1")
    found += [(await admin.get(path)).text for path in pages]
    found += [message.data.decode() async for message in bus.read("HERMES", ">", 0)]
    found.append(await stored_targets(bus))
    found += [str(item) for item in await web.config.history(Kind.TARGETS)]
    return "\n".join(found)


async def test_a_secret_is_stored_sealed_and_is_nowhere_to_be_read(
    web: Web, bus: Bus, api: httpx.AsyncClient, admin, caplog: pytest.LogCaptureFixture
) -> None:
    saved = await put(api, "targets", {"targets": [STOW]}, 0)
    assert saved.status_code == 200, saved.text
    mark = saved.json()["targets"][0]["auth"]["password"]
    assert re.fullmatch(r"sealed:[0-9a-f]{12}", mark)
    wrong = await put(api, "targets", {"targets": [{**STOW, "batch": 0}, {**STOW, "auth": SECRET}]}, 1)
    assert wrong.status_code in (400, 422)
    whole = await everything(web, bus, api, admin) + saved.text + wrong.text + caplog.text
    assert SECRET not in whole
    shown = (await api.get("/api/v1/targets")).text + (await api.get("/api/v1/targets/revisions/1")).text
    shown += (await admin.get("/history/targets/1")).text
    events = [message.data.decode() async for message in bus.read("HERMES", "hermes.v1.config.changed.>", 0)]
    assert "sealed:v1:" not in shown + "".join(events)
    assert "sealed:v1:" in await stored_targets(bus)


async def test_a_secret_is_kept_by_its_mark_and_asked_for_again_when_the_address_changes(
    web: Web, api: httpx.AsyncClient
) -> None:
    first = (await put(api, "targets", {"targets": [STOW]}, 0)).json()["targets"][0]
    kept = await put(api, "targets", {"targets": [{**first, "name": "Other"}]}, 1)
    assert kept.status_code == 200
    assert kept.json()["targets"][0]["auth"] == first["auth"]
    moved = await put(api, "targets", {"targets": [{**first, "url": "https://evil.test"}]}, 2)
    assert (moved.status_code, moved.json()["errors"][0]["field"]) == (422, "targets[0].auth.password")
    assert "the address has changed" in moved.json()["errors"][0]["message"]
    invented = {**first, "auth": {**first["auth"], "password": "sealed:000000000000"}}
    assert (await put(api, "targets", {"targets": [invented]}, 2)).status_code == 422
    restored = await api.post("/api/v1/targets/revisions/1/restore", headers={"if-match": '"2"'})
    assert restored.json()["targets"][0]["auth"] == first["auth"]
    stored = (await web.targets())[1].targets[0]
    assert isinstance(stored, StowTarget)
    assert isinstance(stored.auth, BasicAuth)
    plain = opened(stored, web.sealer)
    assert plain.auth.password.get_secret_value() == SECRET  # type: ignore[union-attr]


FORMS: dict[str, dict[str, str]] = {
    "dicom": {"host": "h", "port": "104", "called_aet": "P", "calling_aet": "H", "max_pdu": "", "tls": "yes",
              "tls.certificate": "CERT", "tls.key": SECRET},
    "stow": {"url": "https://h/dw", "batch": "5", "auth.mode": "oauth2", "auth.token_url": "https://t/token",
             "auth.client_id": "c", "auth.client_secret": SECRET, "auth.scope": ""},
    "s3": {"endpoint": "h:9000", "bucket": "images", "region": "us-east-1", "access_key": "a", "secret_key": SECRET,
           "key_template": "{sop_instance_uid}"},
    "sftp": {"host": "h", "port": "22", "host_key": "ssh-ed25519 AAAAx", "user": "u", "password": SECRET,
             "folder": ".", "path_template": "{sop_instance_uid}"},
    "folder": {"path": "/data", "path_template": "{sop_instance_uid}"},
}  # fmt: skip
COMMON = {
    "concurrency": "3", "enabled": "yes", "retry.max_attempts": "4", "retry.delay": "10s",
    "retry.factor": "2", "retry.max_delay": "1h", "connect_timeout": "5s", "response_timeout": "30s",
}  # fmt: skip


async def test_the_form_of_each_kind_makes_a_target_and_keeps_its_secret(admin, api: httpx.AsyncClient) -> None:
    for number, (kind, own) in enumerate(FORMS.items()):
        form = COMMON | own | {"name": kind, "revision": str(2 * number)}
        empty = await admin.get(f"/targets/_new/{kind}")
        assert all(f'name="{name}"' in empty.text for name in own)
        wrong = await admin.post(f"/targets/_new/{kind}", form | {"concurrency": "x"})
        assert "concurrency" in wrong.text
        assert SECRET not in wrong.text
        made = await admin.post(f"/targets/_new/{kind}", form)
        assert made.status_code == 303, made.text
        assert SECRET not in (await admin.get(f"/targets/{kind}")).text
        before = (await api.get("/api/v1/targets")).json()["targets"][number]
        assert (before["kind"], before["concurrency"], before["retry"]["max_attempts"]) == (kind, 3, 4)
        again = {name: value for name, value in form.items() if value != SECRET}
        changed = await admin.post(f"/targets/{kind}", again | {"revision": str(2 * number + 1), "comment": "kept"})
        assert changed.status_code == 303, changed.text
        assert (await api.get("/api/v1/targets")).json()["targets"][number] == {**before, "comment": "kept"}
    assert (await admin.get("/targets")).status_code == 200


async def test_the_form_takes_a_secret_away_when_it_is_told_to(admin, api: httpx.AsyncClient) -> None:
    form = COMMON | FORMS["sftp"] | {"name": "box", "private_key": "KEY\nLINES", "revision": "0"}
    assert (await admin.post("/targets/_new/sftp", form)).status_code == 303
    more = {"password": "", "private_key": "", "password.remove": "yes", "revision": "1"}
    assert (await admin.post("/targets/box", form | more)).status_code == 303
    target = (await api.get("/api/v1/targets")).json()["targets"][0]
    assert (target["password"], target["private_key"][:7]) == ("", "sealed:")


async def test_without_a_key_no_secret_is_taken(web: Web, browser, bus: Bus) -> None:
    keyless = replace(web, sealer=Sealer(SecretStr("")))
    with pytest.raises(InvalidError) as refused:
        await keyless.save(Kind.TARGETS, {"targets": [STOW]}, 0, "ann", "")
    assert "HERMES_SECRET_KEY is not set" in refused.value.problems[0].message
    assert (await keyless.save(Kind.TARGETS, {"targets": [PACS]}, 0, "ann", "")).revision == 1


async def test_the_page_pauses_for_a_while_and_resumes(configured: httpx.AsyncClient, admin) -> None:
    assert "is not a span" in (await admin.post("/targets/pacs/pause", {"for": "soon"})).text
    assert (await admin.post("/targets/pacs/pause", {"for": "2h", "reason": "move"})).status_code == 303
    page = (await admin.get("/targets/pacs")).text
    assert "Paused since" in page
    assert "move" in page
    assert (await admin.post("/targets/pacs/resume")).status_code == 303
    assert (await configured.get("/api/v1/targets/states")).json()["items"][0]["state"] == "up"


async def test_the_off_peak_hours_are_set_on_the_page_of_policies(admin, api: httpx.AsyncClient) -> None:
    form = {
        "revision": "0", "completion.quiet_period": "10s", "retention.delivered": "7d", "retention.unmatched": "14d",
        "retention.discarded": "14d", "off_peak.start": "20:00", "off_peak.end": "05:30", "off_peak.days": "6",
        "off_peak.timezone": "Europe/Vienna",
    }  # fmt: skip
    wrong = await admin.post("/policies", form | {"off_peak.timezone": "Mars/Base"})
    assert "there is no time zone" in wrong.text
    assert (await admin.post("/policies", form)).status_code == 303
    found = (await api.get("/api/v1/policies")).json()["off_peak"]
    assert found == {"start": "20:00", "end": "05:30", "days": [6], "timezone": "Europe/Vienna"}
