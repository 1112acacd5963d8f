"""Channels, silences and conditions of alerts: on the pages and in the API, with secrets that nobody gets back."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, insert

from hermes_common import ledger, subjects
from hermes_common.alerting import WATCHED, AppriseChannel
from hermes_common.channels import ASK_TEST, ChannelTestAsked, ChannelTested
from hermes_common.config import Kind
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.sealing import opened
from hermes_common.targettests import Step
from hermes_web.core.configuration import parse_document
from hermes_web.errors import InvalidError
from hermes_web.features.alerts.service import BY_ITSELF
from hermes_web.web import Web

PLANTED = "mailto://planted-user:planted-pass@example.org"
MAIL = {"kind": "apprise", "slug": "mail", "name": "Mail", "url": PLANTED}
HOOK = {"kind": "webhook", "slug": "hook", "name": "Hook", "url": "https://hooks.example.org/x", "key": "planted-key"}


async def put(api: httpx.AsyncClient, document: dict[str, Any], revision: int) -> httpx.Response:
    return await api.put("/api/v1/alerting", json=document, headers={"if-match": f'"{revision}"'})


async def test_channels_are_saved_sealed_and_shown_without_their_secrets(
    api: httpx.AsyncClient, web: Web, bus: Bus, make_ledger
) -> None:
    make_ledger()
    answer = await put(api, {"channels": [MAIL, HOOK]}, 0)
    assert answer.status_code == 200, answer.text
    assert "planted" not in answer.text
    stored = (await bus.load(subjects.CONFIG, "alerting", type((await web.alerting())[0])))[0]
    assert "planted" not in stored.model_dump_json()
    mail = (await web.alerting())[1].channel("mail")
    assert isinstance(mail, AppriseChannel)
    assert opened(mail, web.sealer).url.get_secret_value() == PLANTED
    again = answer.json()
    again["channels"][0]["name"] = "Post"
    assert (await put(api, again, 1)).status_code == 200, "a mark means: keep it"
    assert opened((await web.alerting())[1].channel("mail"), web.sealer).url.get_secret_value() == PLANTED
    again["channels"][1]["url"] = "https://elsewhere.example.org"
    moved = await put(api, again, 2)
    assert moved.status_code == 422
    assert moved.json()["errors"][0]["field"] == "channels[1].key", "a kept key goes nowhere else"
    said = [message.data async for message in bus.read(subjects.EVENTS, "hermes.v1.config.changed.alerting", 0)]
    assert len(said) == 2
    assert b"planted" not in b"".join(said)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"channels": [{**MAIL, "url": "no address"}]}, "channels[0].url", "such as mailto://"),
        ({"channels": [{**MAIL, "url": "syslog://localhost"}]}, "channels[0].url", "where nobody would see it"),
        ({"channels": [{**MAIL, "title": "${subject.__class__}"}]}, "channels[0].title", "name of a field"),
        ({"channels": [{**MAIL, "body": "$patient"}]}, "channels[0].body", "there is no field $patient"),
        ({"channels": [{**MAIL, "reminder": "1m"}]}, "channels[0].reminder", "between 5m and 30d"),
        ({"channels": [MAIL, MAIL]}, "channels", "repeated: mail"),
        ({"conditions": {"disk_free": 100}}, "conditions.disk_free", "99"),
        ({"conditions": {"silent": {"timezone": "Mars"}}}, "conditions.silent.timezone", "there is no time zone"),
        ({"address": "javascript:alert(1)"}, "address", "write an address"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_and_the_reason(
    change: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        parse_document(Kind.ALERTING, change)
    [problem] = refused.value.problems
    assert problem.field == field
    assert words in problem.message


async def test_a_channel_is_added_changed_and_removed_on_its_page(admin, viewer, web: Web, make_ledger) -> None:
    make_ledger()
    assert "No channels yet" in (await admin.get("/alerts/channels")).text
    assert "Address, as Apprise knows it" in (await admin.get("/alerts/channels/_new/apprise")).text
    form = {"revision": "0", "name": "Ops mail", "url": PLANTED, "enabled": "yes", "recovery": "yes"}
    form |= {"kinds": "target_down", "severity": "critical", "rules": "head, chest", "reminder": "4h"}
    form |= {"quiet.start": "22:00", "quiet.end": "06:30", "quiet.timezone": "Europe/Vienna"}
    form |= {"title": "[$site] $subject", "body": "$message"}
    wrong = await admin.post("/alerts/channels/_new/apprise", {**form, "body": "$nothing", "quiet.end": "25"})
    assert wrong.status_code == 200
    assert "there is no field $nothing" in wrong.text
    assert "planted" not in wrong.text
    assert (await admin.post("/alerts/channels/_new/apprise", form)).status_code == 303
    _, alerting = await web.alerting()
    [made] = alerting.channels
    assert (made.slug, made.rules, made.reminder) == ("ops-mail", ("head", "chest"), timedelta(hours=4))
    assert [kind.value for kind in made.kinds] == ["target_down"]
    page = await admin.get("/alerts/channels/ops-mail")
    assert "One is kept, sealed" in page.text
    assert "planted" not in page.text
    assert 'value="22:00"' in page.text
    kept = {**form, "url": "", "revision": "1", "name": "Ops", "quiet.start": "", "quiet.end": ""}
    assert (await admin.post("/alerts/channels/ops-mail", kept)).status_code == 303
    changed = (await web.alerting())[1].channel("ops-mail")
    assert changed.name == "Ops"
    assert changed.quiet is None
    assert opened(changed, web.sealer).url.get_secret_value() == PLANTED
    late = await admin.post("/alerts/channels/ops-mail", kept)
    assert "your change was not saved" in late.text
    assert (await viewer.post("/alerts/channels/ops-mail/remove", {"revision": "2"})).status_code == 403
    assert "disabled" in (await viewer.get("/alerts/channels/ops-mail")).text
    assert (await admin.post("/alerts/channels/ops-mail/remove", {"revision": "2"})).status_code == 303
    assert (await web.alerting())[1].channels == ()
    assert (await admin.get("/alerts/channels/ops-mail")).status_code == 404


async def test_the_channels_page_says_which_one_fails_and_why(admin, api, web: Web, make_ledger) -> None:
    make_ledger()
    await put(api, {"channels": [MAIL, HOOK]}, 0)

    def messages(connection: Connection) -> None:
        at = datetime.now(UTC)
        common = {"alert_id": "a", "what": "raised", "created_at": at, "next_at": at}
        waiting = {**common, "state": "waiting", "attempt": 4, "reason": "send: <b>refused</b>", "ended_at": None}
        sent = {**common, "state": "sent", "attempt": 1, "reason": "", "ended_at": at}
        rows = [{"message_id": "1", "channel": "mail", **waiting}, {"message_id": "2", "channel": "hook", **sent}]
        connection.execute(insert(ledger.alert_messages), rows)

    await web.database.run(messages)
    page = (await admin.get("/alerts/channels")).text
    assert "tried 4 times" in page
    assert "&lt;b&gt;refused" in page
    items = {item["channel"]: item for item in (await api.get("/api/v1/alerts/channels")).json()["items"]}
    assert (items["mail"]["waiting"], items["mail"]["attempts"]) == (1, 4)
    assert items["hook"]["last_sent_at"] is not None
    assert "Messages are not taken" in (await admin.get("/alerts/channels/mail")).text


async def test_a_silence_is_made_shown_and_ended_by_people_and_programs(
    admin, viewer, api, web: Web, make_ledger
) -> None:
    make_ledger()
    form = {"kind": "delivery_failed", "about": "pacs", "reason": "moved to another rack", "for": "2h"}
    refused = await admin.post("/alerts/silences", {**form, "for": "soon", "reason": ""})
    assert "say why" in refused.text
    assert "is not a span of time" in refused.text
    assert 'value="pacs"' in refused.text, "what was typed stays"
    anything = await admin.post("/alerts/silences", {"kind": "any", "reason": "x", "for": "1h"})
    assert "choose a kind, or say what it is about" in anything.text
    assert (await viewer.post("/alerts/silences", form)).status_code == 403
    assert (await admin.post("/alerts/silences", form)).status_code == 303
    [silence] = (await web.alerting())[1].silences
    assert (silence.actor, silence.reason, silence.until - silence.since) == (
        "admin",
        "moved to another rack",
        timedelta(hours=2),
    )
    assert "moved to another rack" in (await viewer.get("/alerts")).text
    made = await api.post("/api/v1/alerts/silences", json={"about": "CT1", "reason": "holidays", "for": "7d"})
    assert made.status_code == 201, made.text
    assert (await admin.post(f"/alerts/silences/{silence.slug}/end")).status_code == 303
    assert [item.about for item in (await web.alerting())[1].silences] == ["CT1"]
    assert (await api.post(f"/api/v1/alerts/silences/{made.json()['slug']}/end")).status_code == 200
    assert (await api.post(f"/api/v1/alerts/silences/{silence.slug}/end")).status_code == 404
    assert (await web.alerting())[0].revision == 4, "each is a revision, so each is in the audit"


async def test_conditions_are_changed_on_their_page(admin, viewer, web: Web) -> None:
    page = (await admin.get("/alerts/conditions")).text
    assert 'value="30m"' in page
    form = {"revision": "0", "site": "Site A", "address": "https://hermes.example.org/", "queue_age": "1h"}
    form |= {"service_missing": "", "spool_used": "70", "disk_free": "", "quarantine": "5", "silent.learned": "yes"}
    form |= {"silent.factor": "12", "silent.at_least": "6h", "silent.timezone": "Europe/Vienna"}
    wrong = await admin.post("/alerts/conditions", {**form, "silent.senders": "CT1 4h", "queue_age": "1s"})
    assert "write an AE title, =, and a span" in wrong.text
    assert "CT1 4h" in wrong.text
    wrong = await admin.post("/alerts/conditions", {**form, "spool_used": "700"})
    assert 'aria-invalid="true"' in wrong.text
    assert (await viewer.post("/alerts/conditions", form)).status_code == 403
    form["silent.senders"] = "CT1 = 2h\r\n MR 1 = never "
    assert (await admin.post("/alerts/conditions", form)).status_code == 303
    _, alerting = await web.alerting()
    found = alerting.conditions
    assert (found.queue_age, found.service_missing, found.spool_used, found.disk_free, found.quarantine) == (
        timedelta(hours=1),
        None,
        70,
        None,
        5,
    )
    assert [(item.calling_aet, item.after) for item in found.silent.senders] == [
        ("CT1", timedelta(hours=2)),
        ("MR 1", None),
    ]
    assert alerting.address == "https://hermes.example.org"
    assert "MR 1 = never" in (await viewer.get("/alerts/conditions")).text
    assert (await admin.get("/history/alerting")).status_code == 200


async def test_a_test_is_made_by_a_bookkeeper_and_shown_step_by_step(admin, api, bus: Bus, make_ledger) -> None:
    make_ledger()
    await put(api, {"channels": [MAIL]}, 0)
    nobody = await admin.post("/alerts/channels/mail/test")
    assert "no bookkeeper is running" in nobody.text
    asked: list[ChannelTestAsked] = []

    async def answer(message: Any) -> None:
        asked.append(ChannelTestAsked.model_validate_json(message.data))
        step = Step(name="send", ok=False, milliseconds=12.5, detail="<i>refused</i>")
        await message.respond(
            ChannelTested(channel="mail", ok=False, steps=[step], bookkeeper="b1").model_dump_json().encode()
        )

    subscription = await bus.nc.subscribe(ASK_TEST, cb=answer)
    await bus.nc.flush()
    page = await admin.post("/alerts/channels/mail/test")
    assert "&lt;i&gt;refused" in page.text
    assert "12.5 ms" in page.text
    said = await api.post("/api/v1/alerts/channels/mail/test")
    assert said.json()["steps"][0]["name"] == "send"
    assert [item.actor for item in asked] == ["admin", "token automation"]
    assert (await api.post("/api/v1/alerts/channels/nothing/test")).status_code == 404
    await subscription.unsubscribe()
    await asyncio.sleep(0)


async def test_only_open_alerts_are_listed_when_asked_for_and_a_silenced_one_says_so(
    admin, api, web: Web, make_ledger
) -> None:
    make_ledger()
    at = datetime.now(UTC)

    def raised(connection: Connection) -> None:
        both = {"kind": "target_down", "severity": "critical", "message": "m", "raised_at": at, "last_seq": 1}
        rows = [
            {"alert_id": "1", "about": "gone", "cleared_at": at, **both},
            {"alert_id": "2", "about": "still", "cleared_at": None, **both},
        ]
        connection.execute(insert(ledger.alerts), rows)

    await web.database.run(raised)
    everything = {item["alert_id"] for item in (await api.get("/api/v1/alerts")).json()["items"]}
    only_open = {item["alert_id"] for item in (await api.get("/api/v1/alerts?state=open")).json()["items"]}
    assert {"1", "2"} <= everything
    assert "2" in only_open
    assert "1" not in only_open
    assert (await api.get("/api/v1/alerts?state=odd")).status_code == 400
    await admin.post("/alerts/silences", {"kind": "any", "about": "still", "reason": "known", "for": "1h"})
    page = (await admin.get("/alerts?state=open")).text
    assert "silenced until" in page
    assert "gone" not in page


async def test_open_alerts_of_one_kind_about_one_thing_are_shown_as_one(viewer, web: Web, make_ledger) -> None:
    make_ledger()
    at = datetime.now(UTC)

    def raised(connection: Connection) -> None:
        connection.execute(ledger.alerts.delete())
        common = {"severity": "critical", "kind": "delivery_failed", "last_seq": 1}
        failed = [
            {
                "alert_id": f"d{n}",
                "about": f"pacs/id-{n}",
                "message": f"<b>{n}",
                "raised_at": at - timedelta(hours=n),
            }
            for n in range(1, 4)
        ]
        other = {"alert_id": "q", "kind": "quarantined", "about": "CT1", "severity": "warning", "message": "odd"}
        connection.execute(insert(ledger.alerts), [{**row, **common} for row in failed])
        connection.execute(insert(ledger.alerts), [{**other, "raised_at": at, "last_seq": 2}])

    await web.database.run(raised)
    page = (await viewer.get("/alerts?state=open")).text
    assert page.count('<details class="verdict') == 2
    assert page.index("delivery failed") < page.index("quarantined"), "what is critical comes first"
    assert "3 open, the newest 1 h" in page
    assert 'href="/deliveries/id-2"' in page
    assert "&lt;b&gt;3" in page
    overview = (await viewer.get("/")).text
    assert "3 \u00d7 delivery failed" in overview
    assert "&lt;b&gt;1" in overview
    assert "&lt;b&gt;2" not in overview, "one line for all three"
    assert (await viewer.get("/alerts")).text.count('data-label="Severity"') == 4, "all of them are a list as before"


def test_what_is_found_by_looking_is_not_cleared_by_hand() -> None:
    assert BY_ITSELF.keys() >= {kind.value for kind in WATCHED}


def test_a_channel_with_a_plain_secret_is_never_written() -> None:
    channel = AppriseChannel(slug="x", name="X", url=SecretStr(PLANTED))
    with pytest.raises(Exception, match="has to be sealed"):
        channel.model_dump_json()
    assert "planted" not in repr(channel)
