"""Hold, release, cancel, reroute; queues that are paused and acted on as a whole; endpoints in the form of a target."""

import httpx

from hermes_common import subjects
from hermes_common.records import EndpointRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.targets import DicomTarget

from .test_actions import FAILED_DELIVERY, PACS, QUEUED_DELIVERY, commands

OTHER = PACS | {"slug": "other", "name": "Other", "port": 2}


async def configured(api: httpx.AsyncClient, *targets: dict[str, object]) -> None:
    answer = await api.put("/api/v1/targets", json={"targets": list(targets)}, headers={"if-match": '"0"'})
    assert answer.status_code == 200, answer.text


async def test_what_others_will_ask_about_needs_a_reason(api: httpx.AsyncClient, admin, bus: Bus, make_ledger) -> None:
    make_ledger()
    await configured(api, PACS, OTHER)
    path = f"/api/v1/deliveries/{QUEUED_DELIVERY}"
    for action, body in (("hold", {}), ("cancel", {"reason": " "}), ("reroute", {"to": "other"})):
        refused = await api.post(f"{path}/{action}", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "reason"), action
    assert (await admin.post(f"/deliveries/{QUEUED_DELIVERY}/cancel")).status_code == 422
    unknown = await api.post(f"{path}/reroute", json={"to": "nowhere", "reason": "r"})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "to")
    released = await api.post(f"{path}/release")
    assert released.status_code == 409
    assert "only a held delivery" in released.json()["detail"]
    assert (await api.post(f"{path}/hold", json={"reason": "wait"})).status_code == 202
    moved = {"to": "other", "reason": "the PACS is full"}
    assert (await api.post(f"/api/v1/deliveries/{FAILED_DELIVERY}/reroute", json=moved)).status_code == 202
    found = await commands(bus, subjects.DELIVERY_COMMANDS)
    assert [(each["action"], each["reason"], each["to"]) for each in found] == [
        ("hold", "wait", None),
        ("reroute", "the PACS is full", "other"),
    ]


async def test_pages_show_an_instant_beyond_the_calendar_as_it_was_written(
    api: httpx.AsyncClient, admin, make_ledger
) -> None:
    make_ledger()
    saved = await api.put("/api/v1/targets", json={"targets": [PACS]}, headers={"if-match": '"0"'})
    assert saved.status_code == 200
    late, early = "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"
    assert (await api.post("/api/v1/targets/pacs/pause", json={"until": late})).status_code == 200
    for path in ("/targets", "/targets/pacs", "/queues"):
        answer = await admin.get(path)
        assert (answer.status_code, "9999-12-31 23:59:59" in answer.text) == (200, True), path
    for since in (late, early):
        params = {"id": FAILED_DELIVERY, "target": "pacs", "since": since, "asked": "1", "actor": "admin"}
        assert (await admin.get("/errors/progress", params=params)).status_code == 200


async def test_a_page_of_outcomes_after_what_is_no_number_begins_with_the_first(admin, make_ledger) -> None:
    make_ledger()
    for after in ("¹", "x", "9" * 5000, "-5"):
        assert (await admin.get(f"/deliveries/{FAILED_DELIVERY}", params={"after": after})).status_code == 200, after


async def test_everything_that_waits_for_a_target_is_acted_on_from_the_queues(
    api: httpx.AsyncClient, admin, bus: Bus, make_ledger
) -> None:
    make_ledger()
    await configured(api, PACS, OTHER)
    form = {"which": "all", "state": "waiting", "target": "", "back": "queues", "action": "hold", "reason": "new disks"}
    answer = await admin.post("/deliveries/bulk", form)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/queues")
    found = await commands(bus, subjects.DELIVERY_COMMANDS)
    assert QUEUED_DELIVERY in {each["delivery_id"] for each in found}
    assert {(each["action"], each["reason"]) for each in found} == {("hold", "new disks")}


async def test_a_target_is_paused_and_resumed_from_the_queues_with_a_reason_and_an_end(
    api: httpx.AsyncClient, admin, make_ledger
) -> None:
    make_ledger()
    await configured(api, PACS, OTHER)
    asked = {"target": "pacs", "reason": "new disks", "for": "2h"}
    assert (await admin.post("/queues/pause", asked)).status_code == 303
    [state] = [one for one in (await api.get("/api/v1/targets/states")).json()["items"] if one["target"] == "pacs"]
    assert (state["state"], state["reason"], state["actor"]) == ("paused", "new disks", "admin")
    assert state["until"] is not None
    text = (await admin.get("/queues")).text
    assert "paused" in text
    again = await admin.post("/queues/pause", asked)
    assert "is paused already" in again.text
    assert "is not a span of time" in (await admin.post("/queues/pause", asked | {"target": "other", "for": "x"})).text
    assert (await admin.post("/queues/resume", {"target": "pacs"})).status_code == 303
    assert (await api.get("/api/v1/targets")).json()["targets"][0]["pause"] is None


async def test_endpoints_are_lines_of_the_form_and_those_that_are_down_are_named(
    api: httpx.AsyncClient, admin, bus: Bus, make_ledger
) -> None:
    make_ledger()
    await configured(api, PACS)
    form = {
        "name": "PACS", "host": "127.0.0.1", "port": "1", "called_aet": "PACS", "calling_aet": "HERMES",
        "connect_timeout": "10s", "response_timeout": "60s", "concurrency": "2", "enabled": "yes", "weight": "1",
        "retry.max_attempts": "5", "retry.delay": "60s", "retry.factor": "2", "retry.max_delay": "1h",
        "retry.max_age": "3d", "strategy": "weighted", "bandwidth": "1000000", "revision": "1",
        "endpoints": "PACS2@pacs2:104 weight=2 at_once=4\r\n\r\nPACS 3@pacs3:105",
    }  # fmt: skip
    wrong = await admin.post("/targets/pacs", form | {"endpoints": "pacs2"})
    assert "is no endpoint" in wrong.text
    assert (await admin.post("/targets/pacs", form)).status_code == 303
    document = (await api.get("/api/v1/targets")).json()["targets"][0]
    target = DicomTarget.model_validate(document)
    assert [each.name for each in target.all_endpoints()] == ["PACS@127.0.0.1:1", "PACS2@pacs2:104", "PACS 3@pacs3:105"]
    assert [(each.weight, each.concurrency) for each in target.all_endpoints()] == [(1, 2), (2, 4), (1, 2)]
    assert (document["strategy"], document["bandwidth"], document["retry"]["max_age"]) == ("weighted", 1_000_000, "3d")
    down = target.all_endpoints()[1]
    record = EndpointRecord(
        target="pacs", endpoint=down.name, outage="o", since=now(), reason="refused", next_test_at=now()
    )
    await bus.create(subjects.STATE, subjects.endpoint_state("pacs", down.token), record)
    [state] = (await api.get("/api/v1/targets/states")).json()["items"]
    assert (state["state"], [each["endpoint"] for each in state["endpoints_down"]]) == ("up", ["PACS2@pacs2:104"])
    page = (await admin.get("/targets/pacs")).text
    assert "PACS2@pacs2:104 weight=2 at_once=4" in page
    assert "is down since" in page
