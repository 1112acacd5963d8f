"""What would be deleted, when and why; what a shorter retention would delete; what rules need; discarding a study."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from sqlalchemy import insert, update

from hermes_common import ledger, subjects
from hermes_common.cleaning import (
    ASK_PLAN,
    ASK_SWEEP,
    Kept,
    Orphan,
    Plan,
    PlanAsked,
    PlannedSeries,
    SweepAsked,
    SweepBegun,
)
from hermes_common.config import Retention
from hermes_common.events import StudyCompleted
from hermes_common.records import Pressure, StudyRecord, StudyState, SweepRecord, WatermarkRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_web.features.storage.preview import preview
from hermes_web.web import Web

STUDY = "1.2.826.0.1.3680043.2.1125"
DELIVERED, UNMATCHED = f"{STUDY}.1", f"{STUDY}.3"
SHORTER = {"retention": {"delivered": "1h", "unmatched": "14d"}}
PACS = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "127.0.0.1", "port": 1, "called_aet": "PACS"}


async def age(web: Web, uid: str, **columns: Any) -> None:
    """Have a series be done for two days."""
    past = now() - timedelta(days=2)
    values = {"ended_at": past, "decided_at": past, **columns}
    statement = update(ledger.series).where(ledger.series.c.series_uid == uid).values(**values)
    await web.database.run(lambda connection: connection.execute(statement))


async def test_a_preview_says_how_much_a_shorter_retention_would_delete_at_once(
    api: httpx.AsyncClient, web: Web, make_ledger
) -> None:
    make_ledger()
    await age(web, DELIVERED, octets=1_500_000_000)
    found = (await api.post("/api/v1/policies/preview", json=SHORTER)).json()
    assert (found["series"], found["octets"], found["examples"]) == (1, 1_500_000_000, [DELIVERED])
    assert found["words"] == "1 series (1.5 GB) would be deleted at once"
    longer = (await api.post("/api/v1/policies/preview", json={"retention": {"delivered": "30d"}})).json()
    assert (longer["series"], longer["words"]) == (0, "nothing would be deleted at once")


async def test_a_preview_goes_by_rules_and_targets_too(web: Web, make_ledger) -> None:
    make_ledger()
    await age(web, DELIVERED)
    await age(web, UNMATCHED, state="discarded")
    decision = {
        "event_id": "x1", "batch_id": "b", "series_uid": UNMATCHED, "kind": "rules", "outcome": "discarded",
        "revision": 1, "decided_at": now(), "seq": 9,
        "decision": {"rules": [{"slug": "noise", "status": "fired"}, {"slug": "other", "status": "not_matched"}]},
    }  # fmt: skip
    await web.database.run(lambda connection: connection.execute(insert(ledger.decisions).values(**decision)))

    async def gone(**retention: Any) -> list[str]:
        after = Retention.model_validate(retention)
        return sorted((await web.database.run(preview, Retention(), after, now())).examples)

    [target] = await web.database.run(
        lambda connection: [
            row.target
            for row in connection.execute(ledger.deliveries.select().where(ledger.deliveries.c.series_uid == DELIVERED))
        ]
    )
    assert await gone() == []
    assert await gone(targets=[{"target": target, "keep": "1h"}]) == [DELIVERED]
    assert await gone(targets=[{"target": "elsewhere", "keep": "1h"}]) == []
    assert await gone(rules=[{"rule": "noise", "keep": "1h"}]) == [UNMATCHED]
    assert await gone(rules=[{"rule": "other", "keep": "1h"}]) == []


async def test_the_page_saves_a_shorter_retention_only_once_a_person_has_seen_what_it_deletes(
    admin, api: httpx.AsyncClient, web: Web, make_ledger
) -> None:
    make_ledger()
    await age(web, DELIVERED)
    form = {"revision": "0", "retention.delivered": "1h"}
    shown = await admin.post("/policies", form)
    assert shown.status_code == 200
    assert "1 series (" in shown.text
    assert "would be deleted at once" in shown.text
    assert (await api.get("/api/v1/policies")).json()["retention"]["delivered"] == "7d"
    token = shown.text.partition('name="confirmed" value="')[2].partition('"')[0]
    other = await admin.post("/policies", {**form, "retention.delivered": "30m", "confirmed": token})
    assert other.status_code == 200, "what was confirmed was another retention"
    assert (await admin.post("/policies", {**form, "confirmed": token})).status_code == 303
    assert (await api.get("/api/v1/policies")).json()["retention"]["delivered"] == "1h"


async def test_a_retention_that_deletes_nothing_is_saved_at_once_and_without_the_history_it_is_asked_about(
    admin, make_ledger
) -> None:
    unknown = await admin.post("/policies", {"revision": "0", "retention.delivered": "1h"})
    assert "cannot be said" in unknown.text
    make_ledger()
    assert (await admin.post("/policies", {"revision": "0", "retention.delivered": "6d"})).status_code == 303


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ({"retention": {"delivered": "0s"}}, "retention.delivered", "at least 10s"),
        ({"retention": {"targets": [{"target": "pacs", "keep": "1s"}]}}, "retention.targets[0].keep", "at least 10s"),
        ({"retention": {"rules": [{"rule": "gone", "keep": "1d"}]}}, "retention.rules[0].rule", "no rule 'gone'"),
        ({"retention": {"targets": [{"target": "x", "keep": "1d"}]}}, "retention.targets[0].target", "no target 'x'"),
        ({"watermark": {"most": "much"}}, "watermark.most", "500GB"),
        ({"orphans": {"grace": "1m"}}, "orphans.grace", "at least 1h"),
    ],
)
async def test_a_retention_that_cannot_be_meant_is_refused_with_its_field(
    api: httpx.AsyncClient, document: dict[str, Any], field: str, words: str
) -> None:
    await api.put("/api/v1/targets", json={"targets": [PACS]}, headers={"if-match": '"0"'})
    answer = await api.put("/api/v1/policies", json=document, headers={"if-match": '"0"'})
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]


async def test_limits_and_orphans_are_set_on_the_page_of_policies(admin, api: httpx.AsyncClient) -> None:
    form = {
        "revision": "0", "watermark.most": "1.5TB", "watermark.least_free": "", "watermark.done_for": "2h",
        "orphans.remove": "yes", "orphans.grace": "3d",
    }  # fmt: skip
    assert (await admin.post("/policies", form)).status_code == 303
    found = (await api.get("/api/v1/policies")).json()
    assert found["watermark"] == {"most": "1.5TB", "least_free": None, "done_for": "2h"}
    assert found["orphans"] == {"remove": True, "grace": "3d"}
    shown = (await admin.get("/policies")).text
    assert 'value="1.5TB"' in shown
    assert 'value="yes"' in shown


def plan() -> Plan:
    pressure = Pressure(episode="e", since=now(), excess=5, stuck=True, reason="the limit is at most 1TB stored")
    return Plan(
        at=now(), cleaner="cleaner@test", series=3, octets=6_000_000, due=1, due_octets=2_000_000,
        soonest=[PlannedSeries(series_uid=DELIVERED, study_uid=STUDY, octets=1, instances=1, at=now(), why="7d <b>")],
        kept=[Kept(reason="its delivery to pacs is failed", series=2, octets=4)],
        watermark=WatermarkRecord(next_at=now(), looked_at=now(), stored=5, pressure=pressure), watermark_words="1TB",
        sweep=SweepRecord(next_at=now(), ended_at=now(), objects=9, octets=9, orphans=1, missing=1),
        orphans=[Orphan(key="1.2/x.dcm", octets=1, modified=now(), first_seen=now(), why="no record names it")],
        missing=["1.2/y.dcm"],
    )  # fmt: skip


async def test_the_plan_of_the_cleaner_is_shown_and_a_sweep_is_asked_for(
    api: httpx.AsyncClient, admin, viewer, bus: Bus
) -> None:
    nobody = await api.get("/api/v1/storage/plan")
    assert (nobody.status_code, "no cleaner is running" in nobody.json()["detail"]) == (503, True)
    asked: list[int] = []
    swept: list[SweepAsked] = []

    async def answer_plan(message: Msg) -> None:
        asked.append(PlanAsked.model_validate_json(message.data).limit)
        await message.respond(plan().model_dump_json().encode())

    async def answer_sweep(message: Msg) -> None:
        swept.append(SweepAsked.model_validate_json(message.data))
        await message.respond(SweepBegun(state="begun", cleaner="cleaner@test").model_dump_json().encode())

    await bus.nc.subscribe(ASK_PLAN, cb=answer_plan)
    await bus.nc.subscribe(ASK_SWEEP, cb=answer_sweep)
    await bus.nc.flush(5)
    found = (await api.get("/api/v1/storage/plan", params={"limit": 7})).json()
    assert (found["due"], found["kept"][0]["series"], asked) == (1, 2, [7])
    shown = (await viewer.get("/storage")).text
    for words in ("7d &lt;b&gt;", "its delivery to pacs is failed", "too full", "1.2/x.dcm", "1.2/y.dcm"):
        assert words in shown
    begun = await api.post("/api/v1/storage/sweep", json={"remove": True})
    assert (begun.status_code, begun.json()["state"]) == (202, "begun")
    assert (await admin.post("/storage/sweep")).status_code == 303
    assert [(each.actor, each.remove) for each in swept] == [("token automation", True), ("admin", False)]


async def test_what_a_rule_needs_is_kept_by_its_form_and_checked(admin, api: httpx.AsyncClient) -> None:
    await api.put("/api/v1/targets", json={"targets": [PACS]}, headers={"if-match": '"0"'})
    needs = {"required": ['Modality == "CT"', 'Modality == "PT"'], "series": 2, "max_wait": "6h", "then": "hold"}
    rule = {
        "slug": "pet", "name": "PET", "scope": "study", "expression": 'Modality == "PT"', "targets": ["pacs"],
        "needs": needs,
    }  # fmt: skip
    await api.put("/api/v1/rules", json={"rules": [rule]}, headers={"if-match": '"0"'})
    shown = (await admin.get("/rules/pet")).text
    assert "Modality == &#34;CT&#34;\nModality == &#34;PT&#34;</textarea>" in shown
    form = {
        "revision": "1", "name": "PET", "scope": "study", "expression": 'Modality == "PT"', "targets": "pacs",
        "state": "active", "action": "route", "priority": "normal", "then": "continue",
        "needs-required": 'Modality == "CT"', "needs-series": "", "needs-max_wait": "2h", "needs-then": "proceed",
    }  # fmt: skip
    assert (await admin.post("/rules/pet", form)).headers["location"].startswith("/rules")
    [saved] = (await api.get("/api/v1/rules")).json()["rules"]
    assert saved["needs"] == {
        "required": ['Modality == "CT"'],
        "series": None,
        "max_wait": "2h",
        "then": "proceed",
    }
    wrong = await admin.post("/rules/pet", {**form, "revision": "2", "needs-required": "Modality == CT"})
    assert "Not saved" in wrong.text
    other = await admin.post("/rules/pet", {**form, "revision": "2", "scope": "series"})
    assert "only a rule about studies can need series" in other.text
    document = {"rules": [{**rule, "needs": {"required": ["Modality == CT"]}}]}
    answer = await api.put("/api/v1/rules", json=document, headers={"if-match": '"2"'})
    assert [error["field"] for error in answer.json()["errors"]] == ["rules[0].needs.required[0]"]


async def test_a_held_study_is_discarded_by_a_person(api: httpx.AsyncClient, admin, bus: Bus, make_ledger) -> None:
    make_ledger()
    record = StudyRecord(
        study_uid=STUDY, series=(DELIVERED,), opened_at=now(), created_at=now(), updated_at=now(),
        state=StudyState.HELD, waiting="the maximum wait of 60 s has passed",
    )  # fmt: skip
    await bus.create(subjects.STATE, subjects.study_state(STUDY), record)
    shown = (await admin.get(f"/studies/{STUDY}")).text
    assert f'action="/studies/{STUDY}/discard"' in shown
    assert "<button>Proceed</button>" in shown
    assert (await admin.post(f"/studies/{STUDY}/discard", {"reason": "a phantom"})).status_code == 303
    assert (await api.post(f"/api/v1/studies/{STUDY}/discard", json={"reason": "again"})).status_code == 202
    assert (await bus.js.stream_info(subjects.WORK)).state.messages == 2


async def test_a_study_that_no_rule_is_about_is_shown_as_routed_by_the_rules_about_series(
    viewer, web: Web, make_ledger
) -> None:
    make_ledger()
    event = StudyCompleted(
        study_uid=STUDY, round=1, reason="nothing has come for 60 s", series=3, opened_at=now(), outcome="unmatched",
        revision=4, quiet_period=timedelta(seconds=60), routed=2,
    )  # fmt: skip
    row = {"event_id": "s1", "study_uid": STUDY, "round": 1, "kind": "rules", "outcome": "unmatched", "revision": 4}
    row |= {"decision": event.model_dump(mode="json"), "completed_at": now(), "seq": 1}
    await web.database.run(lambda connection: connection.execute(insert(ledger.study_decisions).values(**row)))
    shown = (await viewer.get(f"/studies/{STUDY}")).text
    decisions = shown.partition("<h2>Decisions</h2>")[2].partition("<h2 id")[0]
    assert "2 series went where rules about series sent them" in decisions
    assert "unmatched" not in decisions
