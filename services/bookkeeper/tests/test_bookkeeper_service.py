"""The bookkeeper as a process: it becomes ready, says what is wrong, and ends as told."""

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request

import pytest

pytestmark = pytest.mark.servers


def _get(url):
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # our own health server
        return response.read().decode()


async def _ready(port):
    for _ in range(1200):
        try:
            return await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/readyz")
        except OSError:
            await asyncio.sleep(0.05)
    pytest.fail("it did not become ready")


async def test_the_service_becomes_ready_shows_its_lag_and_ends_with_0_on_sigterm(nats_url, database_url):
    environment = {**os.environ, "HERMES_NATS_URL": nats_url, "HERMES_DATABASE_URL": database_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hermes_bookkeeper"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        seen = b""
        while (found := re.search(rb"health on http://[0-9.]+:(\d+)", seen)) is None:
            line = await asyncio.wait_for(process.stderr.readline(), 60)
            assert line, seen
            seen += line
        rest = asyncio.create_task(process.stderr.read())
        port = int(found[1])
        ready = json.loads(await _ready(port))
        assert ready["ready"]
        assert {"bus": "ok", "database": "ok"}.items() <= ready["checks"].items()
        assert ready["checks"].keys() == {"bus", "database", "configuration", "alerts"}
        assert "hermes_bookkeeper_lag_events" in await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/metrics")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 40) == 0, await rest
        await rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
