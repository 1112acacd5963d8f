"""One router for all end-to-end tests that do not break it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Hermes, StoreScp, free_port, home_folder


@pytest.fixture(scope="session")
def hermes() -> Iterator[Hermes]:
    """A running router with the S3 store; left as found by nobody, so each test configures it."""
    home = home_folder("e2e")
    running = Hermes(home)
    try:
        running.start()
        yield running
        assert running.stop() == 0
    finally:
        running.stop()
        shutil.rmtree(home.parent, ignore_errors=True)


@pytest.fixture
def storescp(peer: Callable[[str, str], str], tmp_path: Path) -> Iterator[Callable[[str], StoreScp]]:
    """Make DCMTK storescps, started and stopped with the test."""
    made: list[StoreScp] = []

    def make(name: str = "target") -> StoreScp:
        scp = StoreScp(peer("storescp", "dcmtk"), tmp_path / name, free_port())
        made.append(scp)
        scp.start()
        return scp

    yield make
    for scp in made:
        scp.stop()
