"""Pages while NATS is away: they say so soon, and show what needs no bus."""

import asyncio
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.health import Health
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import nats_server
from hermes_web.app import build, make_web, seed_administrator
from hermes_web.http.headers import Shell
from hermes_web.settings import Settings

pytestmark = pytest.mark.servers

PASSWORD = "mossy lantern 47 orbit"
CONFIGURATION = ("rules", "targets", "policies")
NEED_IT = (
    *(f"/{page}" for page in ("rules", "rules/new", "targets", "sources", "policies", "storage", "history/rules")),
    *(f"/history/{kind}/1" for kind in CONFIGURATION),
)
DO_NOT = ("/", "/series", "/queues", "/deliveries", "/errors", "/flow", "/audit", "/associations", "/users", "/system")


async def test_pages_say_soon_that_the_bus_is_away_and_show_what_needs_none(
    tmp_path: Path, database_url: str, make_ledger, browse
) -> None:
    with nats_server(tmp_path) as running:
        bus = Bus(RuntimeSettings(nats_url=SecretStr(running.url())), "test")
        bus.start()
        await asyncio.wait_for(bus.ready(), 10)
        settings = Settings(database_url=SecretStr(database_url), admin_password=SecretStr(PASSWORD))
        web = make_web(settings, "0.0.test", bus, Health())
        try:
            await web.database.prepare()
            await seed_administrator(web)
            make_ledger()
            browser = browse(Shell(build(web)))
            assert (await browser.sign_in("admin", PASSWORD)).status_code == 303
            running.process.kill()
            async with asyncio.timeout(20):
                while bus.problem() is None:
                    await asyncio.sleep(0.02)
            with pytest.raises(BusUnavailableError):
                await bus.connected()  # it is waited for while it might come back at once
            for path in (*NEED_IT, *DO_NOT):
                began = time.monotonic()
                answer = await browser.get(path)
                taken = time.monotonic() - began
                assert answer.status_code == 200, (path, answer.status_code)
                assert "mistake of the program" not in answer.text, path
                assert ("A part of the system is away" in answer.text) == (path in NEED_IT), path
                assert taken < 4, f"{path} took {taken:.1f} s"  # one request that is waited for takes 5
            overview = (await browser.get("/")).text
            assert "The targets cannot be read" in overview
            assert "No targets yet" not in overview
            queues = (await browser.get("/queues")).text
            assert "The targets cannot be read now" in queues
            assert "not configured" not in queues
        finally:
            await asyncio.to_thread(web.database.close)
            await asyncio.to_thread(web.hasher.close)
            await bus.close()
