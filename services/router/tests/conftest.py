"""A router of its own for each test."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.objectstore.directory import DirectoryStore

sys.path.insert(0, str(Path(__file__).parent))
from router_kit import Router


@pytest.fixture
async def router(bus: Bus, tmp_path: Path) -> AsyncIterator[Router]:
    made = Router(bus, DirectoryStore(tmp_path / "store"))
    yield made
    await made.stop()
    made.store.close()
