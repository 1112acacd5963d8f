"""Alerts that a person clears, and those that are over by themselves."""

import json
from datetime import UTC, datetime

import httpx
from sqlalchemy import Connection, insert

from hermes_common import ledger, subjects
from hermes_common.runtime.bus import Bus
from hermes_web.web import Web

CRASH = "0e7a7c5e-5f1b-5d0e-9a65-00000000000a"
FAILURE = "0e7a7c5e-5f1b-5d0e-9a65-00000000000b"


def raised(connection: Connection) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    both = {"about": "router", "severity": "warning", "message": "x", "reason": "", "raised_at": at, "last_seq": 1}
    rows = [
        {"alert_id": CRASH, "kind": "service_crashed", **both},
        {"alert_id": FAILURE, "kind": "delivery_failed", **both},
    ]
    connection.execute(insert(ledger.alerts), rows)


async def cleared(bus: Bus) -> list[dict[str, object]]:
    return [json.loads(message.data) async for message in bus.read(subjects.EVENTS, "hermes.v1.alert.cleared", 0)]


async def test_an_administrator_clears_an_alert_and_it_is_said_who_and_why(
    api: httpx.AsyncClient, admin, web: Web, bus: Bus, make_ledger
) -> None:
    make_ledger()
    await web.database.run(raised)
    assert "Seen to" in (await admin.get("/alerts")).text
    answer = await api.post(f"/api/v1/alerts/{CRASH}/clear", json={"reason": "the disk was replaced"})
    assert answer.status_code == 202
    assert (await admin.post(f"/alerts/{CRASH}/clear")).status_code == 303  # twice counts once: the same event id
    [event] = await cleared(bus)
    assert (event["alert_id"], event["about"], event["actor"], event["reason"]) == (
        CRASH,
        "router",
        "token automation",
        "the disk was replaced",
    )


async def test_alerts_that_are_over_by_themselves_or_unknown_are_refused(
    api: httpx.AsyncClient, viewer, web: Web, make_ledger
) -> None:
    make_ledger()
    await web.database.run(raised)
    refused = await api.post(f"/api/v1/alerts/{FAILURE}/clear")
    assert refused.status_code == 409
    assert "restart, cancel or dismiss the delivery" in refused.json()["detail"]
    assert (await api.post("/api/v1/alerts/nothing/clear")).status_code == 404
    assert (await viewer.post(f"/alerts/{CRASH}/clear")).status_code == 403
