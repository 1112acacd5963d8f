"""The home: one folder with the data, secrets and logs of one installation, held by one launcher at a time."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermes_local.errors import HomeInUseError, HomeUnusableError, StoreChangedError

LOCK = "home.lock"


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are."""

    path: Path

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.path / "logs"

    @property
    def spool(self) -> Path:
        """What the receiver has taken and not handed on yet."""
        return self.path / "spool"

    @property
    def run_file(self) -> Path:
        """What runs now and where (JSON); there while a launcher runs."""
        return self.path / "run.json"

    @property
    def ports_file(self) -> Path:
        """The ports of the last start."""
        return self.path / "ports.json"

    @property
    def signed_in_file(self) -> Path:
        """There once the administrator's first password was shown."""
        return self.path / "password-shown"

    @property
    def store_file(self) -> Path:
        """Which object store the images of this home are in."""
        return self.path / "object-store"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.logs / f"{name}.log"


@contextmanager
def held(path: Path) -> Iterator[Home]:
    """Makes the home if needed and holds it; raises HomeInUseError when another launcher does, HomeUnusableError when
    it cannot be.
    """
    home = Home(path.expanduser().resolve())
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise HomeUnusableError(
            f"{home.path} cannot be the home of Hermes ({problem}). Choose a folder that you can write: "
            f"HERMES_HOME=/a/folder or --home."
        ) from problem
    try:
        _lock(descriptor, home.path)
        home.logs.mkdir(mode=0o700, exist_ok=True)
        home.spool.mkdir(mode=0o700, exist_ok=True)
        yield home
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        text = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise HomeInUseError(path, int(text) if text.isdigit() else None) from problem
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def remember_store(home: Home, given: Mapping[str, str]) -> None:
    """Note in which store the images of this home are; raises StoreChangedError when they are in another one.

    Starting with another store would look like a start without images: what waits to be sent could not be found.
    """
    store = given.get("HERMES_OBJECT_STORE") or "s3"
    if store == "s3" and given.get("HERMES_S3_ENDPOINT"):
        store = f"s3 at {given['HERMES_S3_ENDPOINT']}, bucket {given.get('HERMES_S3_BUCKET') or 'hermes'}"
    if not home.store_file.exists():
        home.store_file.write_text(store + "\n", encoding="utf-8")
        return
    before = home.store_file.read_text(encoding="utf-8").strip()
    if before != store:
        raise StoreChangedError(before, store, home.store_file)
