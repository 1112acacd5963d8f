"""Who receives: Hermes as a service, DCMTK's storescp and Orthanc, each a real process on a free port."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness import free_port, listens, until

from hermes_local.servers.testing import RunningNats, RunningS3

STORESCP, ORTHANC = "/usr/bin/storescp", "/usr/sbin/Orthanc"


@dataclass
class Running:
    """A receiver that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    settle: Callable[[], None] = lambda: None
    """Waits until what happens after the answers (uploads, for Hermes) is done."""

    def cpu(self) -> float:
        """Seconds of processor time, user and system, of the process and its children, ended ones included."""
        total = 0.0
        main = psutil.Process(self.process.pid)
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory(self) -> int:
        """Resident bytes of the process and its children."""
        main = psutil.Process(self.process.pid)
        total = 0
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total


@contextlib.contextmanager
def _started(
    name: str, command: list[str], folder: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=dict(environment or os.environ), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            until(f"{name} listens: {log.read_text(errors='replace')}", lambda: listens(port), 30, 0.02)
            yield Running(name, port, process, folder)
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            folder.rename(_aside(folder))


def _aside(folder: Path) -> Path:
    """Return where a folder that has been used stays until the end of the bench. ext4 without a journal looks at every
    inode that was deleted in the last minutes whenever it makes a file: what one receiver leaves would slow the next.
    """
    return next(path for n in itertools.count() if not (path := folder.with_name(f"{folder.name}-{n}")).exists())


@contextlib.contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Running]:
    """DCMTK's storescp, writing files, a process for each association."""
    port = free_port()
    command = [STORESCP, "--fork", *options, "-od", str(folder), str(port)]
    with _started("storescp", command, folder, port, {**os.environ, "TCP_NODELAY": "1"}) as running:
        yield running


@contextlib.contextmanager
def storescp_as_it_comes(folder: Path) -> Iterator[Running]:
    """DCMTK's storescp without TCP_NODELAY in its environment."""
    port = free_port()
    with _started("storescp", [STORESCP, "--fork", "-od", str(folder), str(port)], folder, port) as running:
        yield running


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Orthanc with its own storage and index, no plugins."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "Name": "bench",
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "storage"),
                "DicomPort": port,
                "HttpServerEnabled": False,
                "DicomCheckCalledAet": False,
                "DicomAlwaysAllowStore": True,
                "DicomThreadsCount": 8,
                "Plugins": [],
            }
        )
    )
    with _started(
        "orthanc", [ORTHANC, str(configuration)], folder, port, {**os.environ, "TCP_NODELAY": "1"}
    ) as running:
        yield running


@dataclass
class HermesReceiver:
    """How to start the receiver: its bus, its store, and what else its environment says."""

    nats: RunningNats
    s3: RunningS3 | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def started(self, folder: Path) -> Iterator[Running]:
        """The service as it is run in a house, with a spool and (without S3) a directory store below ``folder``."""
        port, health = free_port(), free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
        environment = {
            **clean,
            "HERMES_NATS_URL": self.nats.url("operator"),
            "HERMES_SPOOL": str(folder / "spool"),
            "HERMES_OBJECT_STORE": f"file://{folder}/objects",
            "HERMES_DICOM_HOST": "127.0.0.1",
            "HERMES_DICOM_PORT": str(port),
            "HERMES_HEALTH_PORT": str(health),
            "HERMES_LOG_LEVEL": "warning",
            **self.variables,
        }
        if self.s3 is not None:
            environment |= {
                "HERMES_OBJECT_STORE": "s3",
                "HERMES_S3_ENDPOINT": self.s3.endpoint.removeprefix("http://"),
                "HERMES_S3_ACCESS_KEY": self.s3.access_key,
                "HERMES_S3_SECRET_KEY": self.s3.secret_key,
                "HERMES_S3_BUCKET": self.s3.bucket,
            }
        command = [sys.executable, "-m", "hermes_receiver"]
        with _started("hermes", command, folder, port, environment) as running:
            until("the receiver is ready", lambda: _is_ready(health), 30, 0.05)
            running.settle = lambda: until("uploads", lambda: not _waiting(folder / "spool"), 600, 0.1)
            yield running


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            report = json.load(answer)
    except OSError:
        return False
    return all(word == "ok" for word in report["checks"].values())


def _waiting(spool: Path) -> int:
    """Entries that are not in the store yet."""
    return sum(1 for folder in spool.rglob("*ready") for _ in folder.iterdir())


def pause() -> None:
    """Let the machine come to rest between two runs."""
    os.sync()
    time.sleep(0.1)
