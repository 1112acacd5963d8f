"""A receiver in this process: real port, real spool, a directory as object store, a bus that remembers."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydicom.data import get_testdata_file

from hermes_common.config import CommitmentAddress, Sources
from hermes_common.dicom.part10 import Part10, parse_file_meta
from hermes_common.events import Event, Sender
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_common.runtime.objectstore import StoreUnavailable
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.sources import Caller, Judgement, Refusal, judge_caller
from hermes_receiver.app import Receiver, build
from hermes_receiver.settings import Settings


class MemoryBus:
    """Publishes into a list; can be away."""

    def __init__(self) -> None:
        self.events: list[tuple[str | None, Event]] = []
        self.away = False
        self.records: dict[str, bytes] = {}
        self.revisions: dict[str, int] = {}

    async def publish(self, event: Event, event_id: str | None = None, time: object = None) -> int:
        if self.away:
            raise BusUnavailableError("away")
        self.events.append((event_id, event))
        return len(self.events)

    async def send(self, subject: str, body: bytes, headers: None = None) -> int:
        if self.away:
            raise BusUnavailableError("away")
        self.records[subject] = body
        return len(self.records)

    async def load(self, bucket: str, key: str, model):
        if self.away:
            raise BusUnavailableError("away")
        body = self.records.get(f"$KV.{bucket}.{key}")
        return None if body is None else (model.model_validate_json(body), self.revisions.get(f"$KV.{bucket}.{key}", 1))

    async def create(self, bucket: str, key: str, record: BaseModel) -> int:
        return await self.update(bucket, key, record, 0)

    async def update(self, bucket: str, key: str, record: BaseModel, revision: int) -> int:
        if self.away:
            raise BusUnavailableError("away")
        name = f"$KV.{bucket}.{key}"
        if self.revisions.get(name, 0) != revision:
            raise ConflictError(name)
        self.records[name] = record.model_dump_json().encode()
        self.revisions[name] = revision + 1
        return revision + 1

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for _, event in self.events if type(event) is kind]


class FlakyStore:
    """The directory store, and a switch."""

    def __init__(self, root: Path) -> None:
        self.inner = DirectoryStore(root)
        self.root = root
        self.away = False

    def put_file(self, key: str, path: Path) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.inner.put_file(key, path)

    @contextmanager
    def together(self):
        yield self

    def open(self, key: str):
        if self.away:
            raise StoreUnavailable("away")
        return self.inner.open(key)

    def stat(self, key: str) -> object | None:
        if self.away:
            raise StoreUnavailable("away")
        return self.inner.stat(key)


class Running:
    """A receiver and what it talks to."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.spool = folder / "spool"
        self.bus = MemoryBus()
        self.store = FlakyStore(folder / "objects")
        self.settings = Settings(
            **{"spool": self.spool, "dicom_host": "127.0.0.1", "dicom_port": 0, "spool_min_free_bytes": 0} | settings  # type: ignore[arg-type]
        )
        self.judge: Callable[[str, str, str], str | None] = lambda *_: None
        self.extra_tags: tuple[str, ...] = ()
        self.sources = Sources()
        self.receiver: Receiver
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: Future[None] | None = None

    def start(self) -> Running:
        self._thread.start()
        self.receiver = self.call(self._build())
        self._tasks = asyncio.run_coroutine_threadsafe(self._work(), self._loop)
        self.receiver.start()
        self.port = self.receiver.listener.port
        return self

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _build(self) -> Receiver:
        self.certificates = self.settings.certificates()
        return build(
            self.settings,
            self.store,
            self.bus,
            self._judge,
            self.certificates,
            self._find,
            lambda: self.extra_tags,
        )

    def _judge(self, caller: Caller) -> Judgement:
        words = self.judge(caller.calling_aet, caller.called_aet, caller.address)
        return judge_caller(self.sources, caller) if words is None else Refusal(words)

    def _find(self, sender: Sender) -> CommitmentAddress | None:
        source = self.sources.find(sender.calling_aet, sender.called_aet, sender.address)
        return None if source is None else source.commitment

    async def _work(self) -> None:
        await asyncio.gather(
            self.receiver.uploads.uploader.run(),
            self.receiver.announcer.run(),
            self.receiver.uploads.keep_copies(),
            self.receiver.commitments.run(),
            self.receiver.tokens.run(),
        )

    def stop(self) -> None:
        self.call(self.receiver.stop())
        if self._tasks is not None:
            self._tasks.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        pending = asyncio.all_tasks(self._loop)
        if pending:
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def eventually(self, condition: Callable[[], object], limit: float = 8.0) -> object:
        deadline = time.monotonic() + limit
        while True:
            value = condition()
            if value or time.monotonic() > deadline:
                assert value, "this did not become true in time"
                return value
            time.sleep(0.01)

    def events(self, kind: type[Event], count: int = 1) -> list:
        self.eventually(lambda: len(self.bus.of(kind)) >= count)
        return self.bus.of(kind)

    def files(self, folder: str) -> list[Path]:
        return sorted((self.spool / folder).iterdir())


@pytest.fixture
def make_receiver(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(*, start: bool = True, **settings: object) -> Running:
        running = Running(tmp_path, **settings)
        if start:
            running.start()
            made.append(running)
        return running

    yield make
    for running in made:
        running.stop()


@pytest.fixture
def receiver(make_receiver: Callable[..., Running]) -> Running:
    return make_receiver()


class Sample:
    """A test instance: whole file, file meta information, data set bytes."""

    def __init__(self, name: str) -> None:
        self.path = Path(str(get_testdata_file(name)))
        self.file = self.path.read_bytes()
        self.part10: Part10 = parse_file_meta(self.file)
        self.data = self.file[self.part10.offset :]
        self.sop_class = self.part10.meta.sop_class_uid
        self.sop_instance = self.part10.meta.sop_instance_uid
        self.syntax = self.part10.meta.transfer_syntax


@pytest.fixture(scope="session")
def ct() -> Sample:
    return Sample("CT_small.dcm")


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Sample]:
    return Sample


@pytest.fixture
def storescu() -> str:
    """Path of DCMTK's storescu; missing skips here and fails in CI."""
    found = "/usr/bin/storescu" if Path("/usr/bin/storescu").exists() else shutil.which("storescu")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("DCMTK's storescu is not installed")
        pytest.skip("DCMTK's storescu is not installed")
    return found


class Authority:
    """A certificate authority in a folder, and certificates of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run("req", "-x509", *self._key("ca"), "-days", "2", "-out", folder / "ca.pem", "-subj", "/CN=Test CA")
        self.ca = folder / "ca.pem"

    @staticmethod
    def _run(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    def _key(self, name: str) -> list[object]:
        return ["-newkey", "rsa:2048", "-nodes", "-keyout", self.folder / f"{name}.key"]

    def issue(self, name: str, subject: str, days: int = 2) -> tuple[Path, Path]:
        """Return certificate and key."""
        request, cert, extension = (self.folder / f"{name}.{end}" for end in ("csr", "pem", "ext"))
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        self._run("req", *self._key(name), "-out", request, "-subj", subject)
        by = ["-CA", self.ca, "-CAkey", self.folder / "ca.key", "-CAcreateserial", "-extfile", extension]
        self._run("x509", "-req", "-in", request, *by, "-days", days, "-out", cert)
        return cert, self.folder / f"{name}.key"


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not installed")
        pytest.skip("openssl is not installed")
    return Authority(tmp_path_factory.mktemp("authority"))
