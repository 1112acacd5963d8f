"""The page of the installation, the forecast, and a bundle in which nothing is that may not leave the house."""

import io
import json
import logging
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Connection, insert

from hermes_common import ledger
from hermes_common.events import EVENT_TYPES
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_common.runtime.selfreport import answer_questions, resident
from hermes_web.core.forecast import Day, forecast
from hermes_web.features.system.bundle import plain_settings
from hermes_web.features.system.service import certificates_of
from hermes_web.settings import Settings
from hermes_web.web import Web

AT = datetime(2026, 11, 24, 3, tzinfo=UTC)
PATIENT = "PLANTED^PATIENT^NAME"
GB = 10**9


def test_a_disk_that_fills_up_by_ten_a_day_is_full_when_its_free_space_is_used() -> None:
    found = forecast([Day(12 * GB, 2 * GB)] * 7, 100 * GB, AT)
    assert found is not None
    assert found.growth == 10 * GB
    assert found.full_at == AT + timedelta(days=10)


@pytest.mark.parametrize("deleted", [12 * GB, 13 * GB, int(11.9 * GB)])
def test_where_deletion_keeps_pace_no_date_is_made_up(deleted: int) -> None:
    found = forecast([Day(12 * GB, deleted)] * 7, 100 * GB, AT)
    assert found is not None
    assert found.full_at is None


def test_without_anything_received_there_is_no_forecast() -> None:
    assert forecast([Day(0, 5)] * 7, 1.0, AT) is None
    assert forecast([], 1.0, AT) is None


@given(
    days=st.lists(st.builds(Day, st.integers(0, 10**15), st.integers(0, 10**15)), max_size=7),
    free=st.floats(0, 1e18),
)
def test_a_forecast_is_never_in_the_past(days: list[Day], free: float) -> None:
    found = forecast(days, free, AT)
    assert found is None or found.full_at is None or found.full_at >= AT


async def report(bus: Bus, health: Health, service: str = "receiver") -> None:
    await answer_questions(bus, health, service, f"{service}@host.1", "1.2.3", AT)


async def test_a_process_says_what_it_measures_and_the_page_shows_it(web: Web, bus: Bus, viewer, make_ledger) -> None:
    make_ledger()
    web.settings.store_folder = Path("/")
    health = Health()
    health.require("port", lambda: "the port 11112 is closed")
    health.words["dicom_aet"] = "HERMES"
    health.measure("spool_disk_total", lambda: 1000 * GB)
    health.measure("spool_disk_free", lambda: 250 * GB)
    health.measure("dicom_tls_certificate_ends", (datetime.now(UTC) + timedelta(days=5)).timestamp)

    def broken() -> float:
        raise OSError("no such disk")

    health.measure("broken", broken)
    await report(bus, health)
    (state,) = await web.fleet.states() or ()
    assert (state.ready, state.checks) == (False, {"port": "the port 11112 is closed"})
    assert set(state.numbers) == {"spool_disk_total", "spool_disk_free", "dicom_tls_certificate_ends"}
    assert certificates_of([state])[0].ends_soon
    page = (await viewer.get("/system")).text
    for word in ("receiver@host.1", "the port 11112 is closed", "1.2.3", "spool of receiver@host.1", "ends soon"):
        assert word in page
    assert re.search(r"object store</h3>.*Full in about|object store</h3>.*not filling up", page, re.DOTALL)
    assert "No answer from router, dispatcher" in page
    for stream in ("HERMES_WORK", "KV_hermes_config"):
        assert stream in page
    answer = await viewer.get("/api/v1/system", headers={"x-csrf-token": viewer.csrf})
    assert answer.json()["versions"]["PostgreSQL"]


def test_the_memory_of_a_process_and_its_children_is_counted() -> None:
    assert (resident() or 0) > 10_000_000


async def test_with_bus_and_history_away_the_page_says_so(web: Web, admin) -> None:
    await web.bus.close()
    answer = await admin.get("/system")
    assert answer.status_code == 200
    assert "the bus (NATS) does not answer" in answer.text
    assert "growth, retention and restarts are not known" in answer.text
    assert (await admin.get("/system/diagnostics")).status_code == 200


async def test_the_bundle_holds_no_secret_and_no_patient(web: Web, admin, viewer, api, make_ledger) -> None:
    make_ledger(PATIENT)
    secrets = ["planted-database-password", "planted-client-secret", "planted-target-password"]
    web.settings.oidc_client_secret = SecretStr(secrets[1])
    web.settings.nats_url = SecretStr(f"nats://web:{secrets[0]}@127.0.0.1")
    target = {
        "kind": "stow",
        "slug": "cloud",
        "name": PATIENT,
        "url": f"https://cloud.example.org/{PATIENT}",
        "auth": {"mode": "basic", "user": PATIENT, "password": secrets[2]},
    }
    answer = await api.put("/api/v1/targets", json={"targets": [target]}, headers={"if-match": '"0"'})
    assert answer.status_code == 200, answer.text
    rule = {"slug": "r", "name": PATIENT, "expression": f'PatientName == "{PATIENT}"', "targets": ["cloud"]}
    rule |= {"comment": PATIENT, "contact": PATIENT}
    answer = await api.put("/api/v1/rules", json={"rules": [rule]}, headers={"if-match": '"0"'})
    assert answer.status_code == 200, answer.text
    root = logging.getLogger()
    root.addHandler(web.recent)
    try:
        logging.getLogger("hermes_web.test").warning("the search for %s took %d s", PATIENT, 3)
        logging.getLogger("another.library").warning(PATIENT)
    finally:
        root.removeHandler(web.recent)
    answer = await admin.get("/system/diagnostics")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {
        *("README.txt", "system.json", "status.json", "configuration.json", "settings.json", "log.txt")
    }
    for name, content in files.items():
        for word in (PATIENT, *secrets, "mossy lantern", "token-for-automation", "1.2.826.0.1.3680043"):
            assert word not in content, (name, word)
    assert "the search for %s took %d s" in files["log.txt"]
    document = json.loads(files["configuration.json"])
    assert document["targets"]["document"][0]["slug"] == "cloud"
    assert document["rules"]["document"][0]["targets"] == ["cloud"]
    assert json.loads(files["status.json"])["queues"]
    assert (await viewer.get("/system/diagnostics")).status_code == 403


def test_every_secret_among_the_settings_is_only_said_to_be_there() -> None:
    given = {
        name: SecretStr("a planted secret of 32 characters ..")
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert len(given) >= 6
    assert "planted" not in json.dumps(plain_settings(Settings.model_validate(given)))


async def test_the_last_events_are_shown_by_type_and_every_type_says_what_it_means(
    viewer: Any, web: Web, make_ledger: Any
) -> None:
    make_ledger()
    at = datetime.now(UTC)

    def said(connection: Connection) -> None:
        common = {"source": "router@n.1", "subject": "s", "time": at, "recorded_at": at}
        kinds = ("hermes.v1.instance.stored", "hermes.v1.series.completed", "hermes.v1.target.down")
        rows = [
            {**common, "id": f"t{seq}", "seq": 1_000_000 + seq, "type": kind, "data": {"why": f"<i>{seq}"}}
            for seq, kind in enumerate(kinds)
        ]
        connection.execute(insert(ledger.events), rows)

    await web.database.run(said)
    page = (await viewer.get("/system/events")).text
    tail = page[page.index('id="tail"') : page.index('id="catalogue"')]
    assert tail.index("hermes.v1.target.down") < tail.index("hermes.v1.series.completed"), "the newest first"
    assert "instance.stored</td>" not in tail
    assert "\\u003ci\\u003e2" in tail
    for name, model in EVENT_TYPES.items():
        assert f'href="/system/events?type={name}"' in page, name
        assert model.__doc__
    one = (await viewer.get("/system/events?type=hermes.v1.instance.stored")).text
    assert "\\u003ci\\u003e0" in one
    assert "\\u003e2" not in one
    assert "None of this type lately" in (await viewer.get("/system/events?type=hermes.v1.target.up")).text
    assert (await viewer.get("/system/events?type=nonsense")).status_code == 400
    masked = {"cookie": f"__Host-hermes={viewer.cookie}; hermes-view=dark.utc.masked"}
    assert "\\u003e2" not in (await viewer.get("/system/events", headers=masked)).text
