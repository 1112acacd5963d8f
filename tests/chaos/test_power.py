"""The power is cut once; the disk that it is cut of loses what it should. The control without fsync is run by hand."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hermes_chaos.disk import Disk, DiskUnusableError

pytestmark = [pytest.mark.chaos, pytest.mark.servers]

NO_DISK = 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk, where there can be one."""
    try:
        made = Disk(tmp_path, 64 * 1024**2)
    except DiskUnusableError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_a_cut_takes_what_was_not_synced_and_leaves_what_was(disk: Disk) -> None:
    with (disk.path / "synced").open("wb") as file:
        file.write(b"synced")
        file.flush()
        os.fsync(file.fileno())
    (disk.path / "unsynced").write_bytes(b"unsynced")
    disk.cut()
    with pytest.raises(OSError, match=r"."):
        (disk.path / "later").write_bytes(b"later")
    disk.unmount()
    disk.mount()
    assert (disk.path / "synced").read_bytes() == b"synced"
    unsynced = disk.path / "unsynced"
    assert not unsynced.exists() or unsynced.read_bytes() == b""
    assert not (disk.path / "later").exists()


def power(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the trial as people do."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "hermes_chaos.power", "--cuts", "1", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout + done.stderr)
    if done.returncode == NO_DISK:
        pytest.skip(done.stderr)
    return done


@pytest.mark.timeout(500)
def test_after_a_power_cut_everything_that_was_acknowledged_comes_to_its_end(tmp_path: Path) -> None:
    done = power("--instances", "150", "--seed", "20")
    assert done.returncode == 0
    assert "**0 lost, 0 parked, all books agree**" in done.stdout
