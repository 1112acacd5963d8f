"""Studies: what they wait for, what was decided, and commands that arrive on the bus."""

import json
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import insert, update

from hermes_common import ledger, subjects
from hermes_common.events import StudyCompleted
from hermes_common.records import StudyRecord, StudyState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_web.web import Web

STUDY = "1.2.826.0.1.3680043.2.1125"
SERIES = f"{STUDY}.1"
PACS = {"kind": "dicom", "slug": "pacs", "name": "PACS", "host": "127.0.0.1", "port": 1, "called_aet": "PACS"}


async def follow(bus: Bus, **more: Any) -> None:
    record = StudyRecord(study_uid=STUDY, series=(SERIES,), opened_at=now(), created_at=now(), updated_at=now())
    await bus.create(subjects.STATE, subjects.study_state(STUDY), record.model_copy(update=more))


async def commands(bus: Bus) -> list[dict[str, Any]]:
    consumer = await bus.js.pull_subscribe(subjects.STUDY_COMMANDS, "reader", stream=subjects.WORK)
    found = []
    for message in await consumer.fetch(20, timeout=1):
        found.append(json.loads(message.data))
        await message.ack()
    return found


async def test_a_study_says_what_it_waits_for_and_until_when(
    api: httpx.AsyncClient, viewer, bus: Bus, make_ledger
) -> None:
    make_ledger()
    await follow(bus, waiting='thorax: no series is Modality == "CT"')
    due = now() + timedelta(minutes=3)
    await bus.arm(subjects.study_timer(STUDY), subjects.study_due(STUDY), due)
    found = (await api.get(f"/api/v1/studies/{STUDY}")).json()
    assert (found["state"], found["waits_for"]) == ("open", 'thorax: no series is Modality == "CT"')
    assert found["until"].startswith(due.strftime("%Y-%m-%dT%H:%M:%S"))
    assert [item["series_uid"] for item in found["series"]] == [f"{STUDY}.{number}" for number in (1, 2, 3)]
    shown = (await viewer.get(f"/studies/{STUDY}")).text
    assert "thorax: no series is Modality == &#34;CT&#34;" in shown
    assert f'href="/studies/{STUDY}"' in (await viewer.get(f"/series/{SERIES}")).text


async def test_a_held_study_is_visible_and_completed_by_a_person(
    api: httpx.AsyncClient, admin, bus: Bus, make_ledger
) -> None:
    make_ledger()
    await follow(bus, state=StudyState.HELD, waiting="the maximum wait of 60 s has passed")
    assert "Held for a person" in (await admin.get(f"/studies/{STUDY}")).text
    await api.put("/api/v1/targets", json={"targets": [PACS]}, headers={"if-match": '"0"'})
    assert (await admin.post(f"/studies/{STUDY}/complete", {"reason": "no more comes"})).status_code == 303
    routed = await api.post(f"/api/v1/studies/{STUDY}/route", json={"targets": ["pacs"]})
    assert routed.status_code == 202
    found = await commands(bus)
    assert [(each["action"], each["actor"], each["targets"], each["reason"]) for each in found] == [
        ("complete", "admin", [], "no more comes"),
        ("route", "token automation", ["pacs"], ""),
    ]
    assert found[1]["command_id"] == routed.json()["command_id"]


async def test_what_cannot_be_done_with_a_study_is_refused_with_the_reason(
    api: httpx.AsyncClient, admin, bus: Bus, make_ledger
) -> None:
    make_ledger()
    assert (await api.get("/api/v1/studies/9.9")).status_code == 404
    assert (await api.post("/api/v1/studies/no-uid/complete")).status_code == 404
    gone = await api.post(f"/api/v1/studies/{STUDY}/complete")
    assert (gone.status_code, "images are gone" in gone.json()["detail"]) == (409, True)
    assert (await api.get(f"/api/v1/studies/{STUDY}")).json()["state"] == "unknown"
    await follow(bus, state=StudyState.COMPLETE)
    over = await api.post(f"/api/v1/studies/{STUDY}/complete")
    assert (over.status_code, over.json()["detail"]) == (409, "nothing of the study is undecided")
    assert "nothing of the study is undecided" in (await admin.post(f"/studies/{STUDY}/complete")).text
    unknown = await api.post(f"/api/v1/studies/{STUDY}/route", json={"targets": ["nowhere"]})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "targets[0]")


async def test_what_was_decided_on_a_study_is_shown_with_its_reasons(
    api: httpx.AsyncClient, viewer, web: Web, make_ledger
) -> None:
    make_ledger()
    rule = {"slug": "all", "name": "All <b>of it</b>", "state": "active", "status": "fired", "targets": ["pacs"]}
    rule |= {
        "clauses": [{"text": "study.series > 1", "outcome": "true", "seen": ["3"]}],
        "expression": "study.series > 1",
    }
    event = StudyCompleted.model_validate(
        {
            "study_uid": STUDY, "round": 1, "reason": "nothing has come for 60 s", "series": 3, "opened_at": now(),
            "outcome": "routed", "revision": 4, "rules": [rule], "targets": ["pacs"], "quiet_period": "60s",
        }
    )  # fmt: skip
    row = {"event_id": "s1", "study_uid": STUDY, "round": 1, "kind": "rules", "outcome": "routed", "revision": 4}
    row |= {"decision": event.model_dump(mode="json"), "completed_at": now(), "seq": 1}
    await web.database.run(lambda connection: connection.execute(insert(ledger.study_decisions).values(**row)))
    [decision] = (await api.get(f"/api/v1/studies/{STUDY}")).json()["decisions"]
    assert decision["rules"][0]["clauses"][0]["seen"] == ["3"]
    shown = (await viewer.get(f"/studies/{STUDY}")).text
    assert "nothing has come for 60 s" in shown
    assert "All &lt;b&gt;of it&lt;/b&gt;" in shown


async def test_the_page_of_policies_keeps_what_it_does_not_show(api: httpx.AsyncClient, admin) -> None:
    condition = {"name": "PET/CT", "when": 'Modality == "PT"', "required": ['Modality == "CT"'], "series": None}
    completion = {
        "quiet_periods": [{"modality": "MR", "quiet_period": "30s"}],
        "study": {"then": "hold", "conditions": [condition]},
    }
    saved = await api.put("/api/v1/policies", json={"completion": completion}, headers={"if-match": '"0"'})
    assert saved.status_code == 200, saved.text
    form = {"revision": "1", "completion.quiet_period": "5s", "completion.study.quiet_period": "90s"}
    form |= {"completion.study.max_wait": "1h"}
    form |= {f"retention.{name}": "14d" for name in ("delivered", "unmatched", "discarded")}
    assert (await admin.post("/policies", form)).status_code == 303
    found = (await api.get("/api/v1/policies")).json()["completion"]
    assert found["quiet_periods"] == [{"source": None, "called_aet": None, "modality": "MR", "quiet_period": "30s"}]
    assert (found["quiet_period"], found["study"]["quiet_period"]) == ("5s", "90s")
    kept = {**condition, "max_wait": None, "then": None}
    assert (found["study"]["then"], found["study"]["conditions"]) == ("hold", [kept])


async def test_a_mistake_in_a_condition_is_named_with_its_place(api: httpx.AsyncClient) -> None:
    condition = {"name": "x", "when": "series.instances > 1", "required": ["Modality == MR"]}
    document = {"completion": {"study": {"conditions": [condition]}}}
    answer = await api.put("/api/v1/policies", json=document, headers={"if-match": '"0"'})
    assert answer.status_code == 422
    fields = [item["field"] for item in answer.json()["errors"]]
    assert fields == ["completion.study.conditions[0].when", "completion.study.conditions[0].required[0]"]


async def test_the_page_of_a_series_says_which_quiet_period_was_used(
    api: httpx.AsyncClient, viewer, web: Web, make_ledger
) -> None:
    make_ledger()
    used = {"quiet_period": "30s", "quiet_for": "modality MR", "shortened_by": "all 3 instances are there"}
    await web.database.run(lambda connection: connection.execute(update(ledger.batches).values(**used)))
    items = (await api.get(f"/api/v1/series/{SERIES}/timeline")).json()["items"]
    assert [item["detail"] for item in items if item["kind"] == "quiet"] == [
        "30s for modality MR; all 3 instances are there"
    ]
    assert "then quiet: 30s for modality MR; all 3 instances are there" in (await viewer.get(f"/series/{SERIES}")).text


async def test_quiet_periods_and_conditions_are_changed_on_the_page_of_policies(api: httpx.AsyncClient, admin) -> None:
    form = {"completion.quiet_period": "5s", "completion.study.quiet_period": "90s", "completion.study.max_wait": "1h"}
    form |= {f"retention.{name}": "14d" for name in ("delivered", "unmatched", "discarded")}
    shown = (await admin.get("/policies")).text
    assert "&#34;late&#34;: &#34;as_before&#34;" in shown
    for wrong, words in (
        ('{"late":', "this is not JSON"),
        ("[]", "an object is needed"),
        ('{"quiet_period": "1s"}', "not quiet_period"),
        ('{"study": {"max_wait": "1s"}}', "not study.max_wait"),
        ('{"study": {"conditions": [{"name": "x", "required": ["Modality = 1"]}]}}', "conditions[0].required[0]"),
        ('{"late": "never"}', "completion.late"),
    ):
        page = await admin.post("/policies", {**form, "revision": "0", "exceptions": wrong})
        assert (page.status_code, words in page.text) == (200, True), wrong
        assert wrong.replace('"', "&#34;") in page.text, "what was typed is shown again"
    typed = {"late": "present_rules", "study": {"then": "hold", "conditions": [{"name": "two", "series": 2}]}}
    saved = await admin.post("/policies", {**form, "revision": "0", "exceptions": json.dumps(typed)})
    assert saved.status_code == 303
    found = (await api.get("/api/v1/policies")).json()["completion"]
    assert (found["late"], found["study"]["then"], found["study"]["max_wait"]) == ("present_rules", "hold", "1h")
    two = {"name": "two", "when": "", "required": [], "series": 2, "max_wait": None, "then": None}
    assert found["study"]["conditions"] == [two]
