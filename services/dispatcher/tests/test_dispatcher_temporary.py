"""Temporary files of a dispatcher that was killed go with the next start; those of one that lives stay."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_common.targets import StowTarget
from hermes_dispatcher.adapters.targets import sender_of
from hermes_dispatcher.adapters.targets.http import SLOWEST
from hermes_dispatcher.adapters.temporary import LOCK, PREFIX, TemporaryFolder

HOLDER = """
import sys, time
from pathlib import Path
from hermes_dispatcher.adapters.temporary import TemporaryFolder
folder = TemporaryFolder(Path(sys.argv[1]))
(folder.path / "hermes-1.part").write_bytes(b"pixels")
print(folder.path, flush=True)
time.sleep(60)
"""


def test_files_of_one_that_was_killed_are_removed_and_those_of_one_that_lives_are_not(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, left_behind), (alive, in_use) = start(), start()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        assert (left_behind / "hermes-1.part").exists()
        ours = TemporaryFolder(tmp_path)
        assert ours.sweep() == 1
        assert not left_behind.exists()
        assert (in_use / "hermes-1.part").exists()
        assert ours.path.exists()
        ours.close()
        assert not ours.path.exists()
    finally:
        for process in (killed, alive):
            process.kill()
            process.communicate(timeout=10)


def test_a_sweep_that_breaks_off_leaves_what_the_next_one_can_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = TemporaryFolder(tmp_path)
    (gone.path / "hermes-1.part").write_bytes(b"pixels")
    os.close(gone._lock)
    ours = TemporaryFolder(tmp_path)
    with monkeypatch.context() as patched:

        def broken(self: Path, missing_ok: bool = False) -> None:
            raise OSError(f"{self} cannot be removed now")

        patched.setattr(Path, "unlink", broken)
        assert ours.sweep() == 0
    assert {path.name for path in gone.path.iterdir()} == {LOCK, "hermes-1.part"}
    assert ours.sweep() == 1
    ours.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_certainly_ours_and_nobodys_is_left_alone(tmp_path: Path) -> None:
    begun = tmp_path / f"{PREFIX}begun"  # a process may be about to lock it
    begun.mkdir()
    (tmp_path / "hermes-2.part").write_bytes(b"of an earlier release, or of somebody else")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    ours = TemporaryFolder(tmp_path)
    assert ours.sweep() == 0
    ours.close()
    assert {path.name for path in tmp_path.iterdir()} == {begun.name, "hermes-2.part", "elsewhere", f"{PREFIX}link"}


def test_a_stow_target_with_a_bandwidth_is_given_the_time_that_all_its_endpoints_together_take() -> None:
    other = {"url": "http://b/dicom-web"}
    document = {"slug": "s", "name": "s", "url": "http://a/dicom-web", "bandwidth": 65536, "concurrency": 2}
    target = StowTarget.model_validate({**document, "endpoints": [other]})
    at_once = sum(each.concurrency for each in target.all_endpoints())
    assert at_once == 4
    for endpoint in target.all_endpoints():
        assert sender_of(target, endpoint.name)._slowest == 65536 // (2 * at_once) < SLOWEST  # type: ignore[attr-defined]
