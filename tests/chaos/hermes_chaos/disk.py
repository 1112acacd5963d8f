"""A disk whose power can be cut: an ext4 file system in a file, by a loop device.

The cut is the call of the kernel with which file systems themselves are tested for this (``EXT4_IOC_SHUTDOWN`` with
``NOLOGFLUSH``): from that instant nothing more is written, whatever was asked for, and neither what lay in the page
cache nor the journal in memory reaches the device. Mounted again, the journal is replayed as after a power cut.

What it does not take is what a drive holds in a cache of its own: what has been written to the device stays, flushed
or not.
"""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs in the lock

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, ``_IOR('X', 125, __u32)``."""

_NO_LOG_FLUSH = 2
_LIMIT = 120.0
_UNMOUNT_WITHIN = 20.0
_TOOLS = ("losetup", "mkfs.ext4", "mount", "umount")


class DiskUnusableError(Exception):
    """There cannot be such a disk here; the message says why and what to do."""


class Disk:
    """An ext4 file system in ``<folder>/disk.img``, mounted at ``<folder>/disk``. Needs root."""

    def __init__(self, folder: Path, octets: int) -> None:
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if os.geteuid() != 0 or missing:
            words = f"missing: {', '.join(missing)}" if missing else "loop devices need root"
            raise DiskUnusableError(f"{words}; run it as root, with the Debian packages mount and e2fsprogs")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "disk"
        self.path.mkdir(exist_ok=True)
        self._image = folder / "disk.img"
        with self._image.open("wb") as file:
            file.truncate(octets)
        run("mkfs.ext4", "-q", "-F", str(self._image))
        self._device = run("losetup", "--find", "--show", str(self._image)).strip()
        with ExitStack() as undo:
            undo.callback(run, "losetup", "--detach", self._device)
            self.mount()
            undo.pop_all()

    def mount(self) -> None:
        """Mount it; after a cut the journal is replayed."""
        run("mount", "-t", "ext4", self._device, str(self.path))

    def sync(self) -> None:
        """Write down everything: what was installed was installed some time ago."""
        run("sync", "--file-system", str(self.path))

    def cut(self) -> None:
        """Cut the power: nothing is written from now on."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it; nothing may have a file open there."""
        deadline = time.monotonic() + _UNMOUNT_WITHIN
        while True:
            try:
                run("umount", str(self.path))
            except DiskUnusableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def close(self) -> None:
        """Unmount it and let the device go; the file stays."""
        with suppress(DiskUnusableError):
            if self.path.is_mount():
                self.unmount()
        run("losetup", "--detach", self._device)


def run(*command: str) -> str:
    """Run a program; return what it said. :class:`DiskUnusableError` with its words if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LIMIT)
    if done.returncode != 0:
        raise DiskUnusableError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def families(pids: Sequence[int]) -> list[psutil.Process]:
    """Return processes and all that they started, also what made a session of its own."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each that is still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
