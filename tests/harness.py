"""The whole router as a person starts it, DICOM peers of other projects around it, and series to send."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hermes_cli.api import Api
from hermes_cli.connection import Connection
from hermes_common.dicom.part10 import parse_file_meta

ROOT = "1.2.826.0.1.3680043.10.1561"


def until(what: str, found: Callable[[], Any], within: float = 30.0, every: float = 0.1) -> Any:
    """Return the first true value of ``found``; fail with ``what`` was waited for when the time is over."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(every)
    raise AssertionError(f"not within {within:.0f} s: {what}")


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def digest(path: Path) -> str:
    """Return the SHA-256 of the data set of a DICOM file, whatever its file meta information."""
    data = path.read_bytes()
    return hashlib.sha256(data[parse_file_meta(data).offset :]).hexdigest()


@dataclass
class Series:
    """Files of one generated series."""

    uid: str
    study_uid: str
    folder: Path
    files: list[Path] = field(default_factory=list)

    def digests(self) -> dict[str, str]:
        """Return the digest of each instance by its UID."""
        return {f"{self.uid}.{number}": digest(path) for number, path in enumerate(self.files, 1)}


def make_series(folder: Path, instances: int, octets: int = 2000, **tags: Any) -> Series:
    """Write a CT series of ``instances`` files with about ``octets`` of noise as pixels each."""
    study = f"{ROOT}.{random.getrandbits(60)}"
    series = Series(f"{study}.1", study, folder)
    folder.mkdir(parents=True, exist_ok=True)
    noise = random.randbytes(max(octets // 200, 1) * 200)
    for number in range(1, instances + 1):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"{series.uid}.{number}"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series.uid
        dataset.Modality, dataset.InstanceNumber = "CT", number
        dataset.PatientName, dataset.PatientID = "Test^Patient", "T1"
        for name, value in tags.items():
            setattr(dataset, name, value)
        dataset.Rows, dataset.Columns, dataset.BitsAllocated = len(noise) // 200, 100, 16
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 0
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.PixelData = number.to_bytes(2, "little") + noise[2:]
        path = folder / f"{number:05}.dcm"
        dcmwrite(path, dataset, enforce_file_format=True)
        series.files.append(path)
    return series


@dataclass
class StoreScp:
    """DCMTK's storescp, keeping what it receives in a folder."""

    program: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "TCP_NODELAY": "1"}
        command = [self.program, "--fork", "+xa", "+uf", *self.options, "-od", str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("storescp listens", lambda: listens(self.port), 10)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def received(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_file()]

    def digests(self) -> list[str]:
        return sorted(digest(path) for path in self.received())


def listens(port: int) -> bool:
    """Return whether something accepts connections on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Hermes:
    """``hermes up`` in a home of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.output = home.parent / f"{home.name}.out"

    def start(self, *arguments: str, within: float = 90.0) -> None:
        """Start it, and wait until it says that everything is ready."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
        environment = {**clean, "HERMES_DICOM_PORT": "0", "HERMES_HTTP_PORT": "0", "HERMES_DICOMWEB_PORT": "0"}
        environment |= self.environment
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hermes_cli", "up", "--home", str(self.home), *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        until(f"ready\n{self.output.read_text()}", self._is_ready, within)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()
        try:
            return bool(self.run()["ready"])
        except (OSError, ValueError):
            return False

    def stop(self) -> int:
        """Stop it as Ctrl-C does; return the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        finally:
            self.process = None

    def run(self) -> dict[str, Any]:
        """Return what runs where."""
        found: dict[str, Any] = json.loads((self.home / "run.json").read_text())
        return found

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment that reaches it."""
        found: dict[str, str] = self.run()["environment"]
        return found

    @property
    def dicom_port(self) -> int:
        return int(self.variables["HERMES_DICOM_PORT"])

    @property
    def url(self) -> str:
        return self.variables["HERMES_URL"]

    @contextlib.contextmanager
    def api(self) -> Iterator[Api]:
        """A client of its API, as administrator."""
        with Api(Connection(self.url, self.variables["HERMES_ADMIN_TOKEN"])) as api:
            yield api

    def pid(self, service: str) -> int:
        return int(self.run()["processes"][service]["pid"])

    def kill(self, service: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one of its processes (and its children, for a server); return the pid."""
        pid = self.pid(service)
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        os.kill(pid, number)
        return pid

    def is_back(self, service: str, killed: int) -> bool:
        """Return whether a service runs again, and is ready, after ``killed`` was."""
        entry = self.run()["processes"][service]
        return entry["pid"] != killed and bool(entry["ready"])

    # -- what people do with it

    def save(self, kind: str, document: Mapping[str, Any]) -> None:
        """Save a configuration document over whatever is there."""
        with self.api() as api:
            api.save(kind, document, api.document(kind).etag, "a test")

    def configure(
        self, targets: list[dict[str, Any]], rules: list[dict[str, Any]], quiet: str = "1s", **retention: str
    ) -> None:
        """Save targets, rules and policies."""
        self.save("rules", {"rules": []})
        self.save("targets", {"targets": targets})
        self.save("rules", {"rules": rules})
        completion = {"quiet_period": quiet, "study": {"quiet_period": quiet}}
        self.save("policies", {"completion": completion, "retention": retention})
        time.sleep(1)  # a change is promised to apply within a second

    def series(self, uid: str) -> dict[str, Any] | None:
        """Return the history of a series, or None if there is none yet."""
        from hermes_cli.errors import ApiError

        with self.api() as api:
            try:
                found: dict[str, Any] = api.get(f"/series/{uid}")
                return found
            except ApiError:
                return None

    def reached(self, uid: str, *states: str) -> dict[str, Any] | None:
        """Return the history of a series if it is in one of the states."""
        found = self.series(uid)
        return found if found is not None and found["state"] in states else None


def target(slug: str, port: int, **more: Any) -> dict[str, Any]:
    """Return a DICOM target on this machine."""
    return {
        "kind": "dicom",
        "slug": slug,
        "name": slug,
        "host": "127.0.0.1",
        "port": port,
        "called_aet": "TARGET",
        "retry": {"max_attempts": 3, "delay": "1s", "factor": 1, "max_delay": "1s"},
        **more,
    }


def rule(slug: str, expression: str, *targets: str, **more: Any) -> dict[str, Any]:
    """Return an active rule."""
    return {"slug": slug, "name": slug, "expression": expression, "targets": list(targets), **more}


def storescu(program: str, port: int, files: list[Path] | Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Send with DCMTK's storescu, Nagle's algorithm off."""
    paths = [str(files)] if isinstance(files, Path) else [str(path) for path in files]
    command = [program, "-aet", "MODALITY", "-aec", "HERMES", *options, "127.0.0.1", str(port), *paths]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "TCP_NODELAY": "1"}
    )


def home_folder(name: str) -> Path:
    """Return a new folder that every user may pass through: PostgreSQL runs as another one when we are root."""
    base = Path("/var/tmp") / f"hermes-test-{os.getpid()}-{name}"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(mode=0o755, parents=True)
    return base / "home"
