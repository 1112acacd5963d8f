"""A cleaner that is killed in the middle of a deletion: the next one ends it, and nothing else is touched."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cleaner_kit import SERIES, Place

from hermes_common import subjects
from hermes_common.records import DeliveryState, SeriesState

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

LIMIT = 90.0

POINTS = ["cleaner.marked", "cleaner.half-deleted", "cleaner.copies-void", "cleaner.documents-deleted"]
OTHER = "1.2.4"


def start(nats_url: str, store: Path, log: Path, point: str = "") -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    environment |= {"HERMES_NATS_URL": nats_url, "HERMES_OBJECT_STORE": f"file://{store}"}
    if point:
        environment["HERMES_CRASH_POINT"] = point
    with log.open("ab") as out:
        return subprocess.Popen([sys.executable, "-m", "hermes_cleaner"], env=environment, stdout=out, stderr=out)


@pytest.mark.parametrize("point", POINTS)
async def test_a_deletion_that_was_killed_is_ended_by_the_next_cleaner(
    place: Place, nats_url: str, tmp_path: Path, point: str
) -> None:
    await place.policy(timedelta(seconds=10))
    await place.series(DeliveryState.SUCCEEDED)
    await place.series(DeliveryState.FAILED, OTHER)
    due = subjects.retention_due(SERIES)
    await place.bus.send(due, b"{}")
    first = start(nats_url, tmp_path / "store", tmp_path / "log", point)
    assert await asyncio.to_thread(first.wait, LIMIT) == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert (await place.record()).state is SeriesState.DELETING
    second = start(nats_url, tmp_path / "store", tmp_path / "log")
    try:
        until = time.monotonic() + LIMIT
        while (await place.record()).state is not SeriesState.DELETED and time.monotonic() < until:
            await place.bus.send(due, b"{}")  # what the dead one had taken would come again, after its time
            await asyncio.sleep(0.5)
    finally:
        second.terminate()
        await asyncio.to_thread(second.wait, LIMIT)
    assert (await place.record()).state is SeriesState.DELETED, (tmp_path / "log").read_text()
    assert place.objects(f"{SERIES}/") + place.objects(f"manifests/{SERIES}/") == 0
    assert place.objects(f"{OTHER}/") == 3
    assert len(await place.said("series.deleted.*")) == 1
