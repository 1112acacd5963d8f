"""A cleaner of its own for each test."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.objectstore.directory import DirectoryStore

sys.path.insert(0, str(Path(__file__).parent))
from cleaner_kit import Place


@pytest.fixture
async def place(bus: Bus, tmp_path: Path) -> AsyncIterator[Place]:
    store = DirectoryStore(tmp_path / "store")
    yield Place(bus, store)
    store.close()
