"""A dispatcher on a real bus and a folder as object store; targets that keep a ledger of their own."""

import asyncio
import contextlib
import hashlib
import io
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pynetdicom import AE, evt

from hermes_common import config, events, keys, subjects
from hermes_common.commands import DeliveryCommand, DeliveryWork
from hermes_common.dicom.part10 import FileMeta, encode_file_meta
from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.records import DeliveryRecord, DeliveryState, SeriesRecord, TargetRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import ConsumerLoop
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.sealing import Sealer, sealed_targets
from hermes_common.runtime.settings import RuntimeSettings
from hermes_dispatcher.adapters.changed import Supplies
from hermes_dispatcher.adapters.changer import Changer, Limits
from hermes_dispatcher.adapters.commitment_scu import asking
from hermes_dispatcher.adapters.manifests import Manifests
from hermes_dispatcher.adapters.objects import Objects
from hermes_dispatcher.adapters.targets import opening
from hermes_dispatcher.handlers import commanding, committing, due
from hermes_dispatcher.handlers.attempting import Pace
from hermes_dispatcher.handlers.expiring import Expiry
from hermes_dispatcher.handlers.previewing import Previewer
from hermes_dispatcher.handlers.queues import Queues
from hermes_dispatcher.handlers.stopping import Running
from hermes_dispatcher.handlers.testing import Answerer, Prober
from hermes_dispatcher.handlers.watching import Watch
from hermes_dispatcher.handlers.working import Worker

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY, SERIES = "1.2.9", "1.2.9.1"
SEALER = Sealer(SecretStr("a key of at least 32 characters ..."))
QUICK = config.Retry(max_attempts=3, delay=timedelta(seconds=1), factor=1, max_delay=timedelta(seconds=1))

SECRET = "planted-secret-4711"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class ScriptedScp:
    """A Storage SCP that answers what ``script`` says: a status, ``abort``, ``hang`` or ``deaf`` (stops reading).

    ``abort_at``: it aborts when so many octets have come in all. ``syntaxes``: what it takes.

    ``ledger`` has (SOP instance UID, status) of everything that it received and answered.
    """

    def __init__(self, script: Callable[[int, str], int | str] = lambda n, uid: 0, classes: tuple[str, ...] = (CT, MR),
                 syntaxes: tuple[str, ...] = (EXPLICIT,), port: int = 0):  # fmt: skip
        self.script = script
        self.abort_at: int | None = None
        self._is_closed = False
        self.octets = 0
        self.callers: list[str] = []
        self.largest_pdu = 0
        self.ledger: list[tuple[str, int]] = []
        self.received: list[str] = []
        self.release = threading.Event()
        self.deaf = False
        self.associations = 0
        entity = AE(ae_title="SCP")
        entity.maximum_associations = 20
        entity.network_timeout = 20
        for uid in classes:
            entity.add_supported_context(uid, list(syntaxes))
        entity.add_supported_context("1.2.840.10008.1.1")
        self.port = port or free_port()
        handlers = [
            (evt.EVT_C_STORE, self._store), (evt.EVT_DATA_RECV, self._data), (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_C_ECHO, lambda _: 0),
        ]  # fmt: skip
        self._server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def target(self, slug: str = "pacs", **more: Any) -> config.DicomTarget:
        fields = {"concurrency": 1, "retry": QUICK, "response_timeout": timedelta(seconds=2)} | more
        return config.DicomTarget(slug=slug, name=slug, host="127.0.0.1", port=self.port, called_aet="SCP", **fields)

    def stored(self) -> Counter[str]:
        return Counter(uid for uid, status in self.ledger if status == 0 or status >> 12 == 0xB)

    def close(self) -> None:
        self.release.set()
        if self._is_closed:
            return
        self._is_closed = True
        self._server.shutdown()
        for association in self._server.active_associations:
            association.join(5)

    def _accepted(self, event: evt.Event) -> None:
        self.associations += 1
        self.callers.append(event.assoc.requestor.ae_title)

    def _data(self, event: evt.Event) -> None:
        self.octets += len(event.data)
        self.largest_pdu = max(self.largest_pdu, len(event.data))
        if self.abort_at is not None and self.octets >= self.abort_at:
            self.abort_at = None
            event.assoc.abort()
        if self.deaf:
            self.release.wait(20)

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received.append(uid)
        answer = self.script(len(self.received), uid)
        if answer == "abort":
            event.assoc.abort()
            return 0xC000
        if answer == "hang":
            self.release.wait(20)
            return 0xC000
        assert isinstance(answer, int)
        self.ledger.append((uid, answer))
        return answer


@pytest.fixture
def scp() -> Iterator[Callable[..., ScriptedScp]]:
    made: list[ScriptedScp] = []

    def make(*args: Any, **more: Any) -> ScriptedScp:
        made.append(ScriptedScp(*args, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def storescp(peer: Callable[[str, str], str], tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's storescp: its port and the folder that it writes to."""
    folder = tmp_path / "storescp"
    folder.mkdir()
    port = free_port()
    program = peer("storescp", "dcmtk")
    process = subprocess.Popen([program, "--fork", "-od", str(folder), "-aet", "STORESCP", str(port)])
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.05)
    yield port, folder
    process.terminate()
    process.wait(10)


@pytest.fixture
def orthanc(peer: Callable[[str, str], str], tmp_path: Path) -> Iterator[str]:
    """Orthanc with its DICOMweb plugin and a registered user; its address."""
    program = peer("Orthanc", "orthanc orthanc-dicomweb")
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if not plugin.exists():
        peer("libOrthancDicomWeb.so", "orthanc-dicomweb")
    port = free_port()
    folder = tmp_path / "orthanc"
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port, "DicomServerEnabled": False,
        "RemoteAccessAllowed": True, "AuthenticationEnabled": True, "RegisteredUsers": {"hermes": SECRET},
        "Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps(settings))
    process = subprocess.Popen([program, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


def fetch(url: str) -> bytes:
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, url, "hermes", SECRET)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    with opener.open(url, timeout=10) as answer:
        return answer.read()


class Place:
    """A bus, a store, deliveries, and dispatchers that can be started, stopped and killed."""

    def __init__(self, bus: Bus, url: str, folder: Path, changer: Changer) -> None:
        self.bus = bus
        self.url = url
        self.folder = folder
        self.store = DirectoryStore(folder / "store")
        self.revision = 0
        self.lease = timedelta(seconds=60)
        self.sender_of: Any = opening(SEALER)
        self.changer = changer
        self.started: list[asyncio.subprocess.Process] = []
        """Dispatchers in processes of their own: none outlives its test, whatever becomes of it."""

    # -- what is to be sent

    def instance(
        self, number: int, octets: int = 2000, sop_class: str = CT, syntax: str = EXPLICIT, sender: str = ""
    ) -> ManifestInstance:
        dataset = Dataset()
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = f"{SERIES}.{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
        dataset.PatientID = "P"
        dataset.Rows = 1
        dataset.add_new(0x7FE00010, "OW", number.to_bytes(4, "big") * (octets // 4))
        buffer = io.BytesIO()
        encoded = DicomFileLike(buffer)
        encoded.is_little_endian, encoded.is_implicit_VR = True, False
        write_dataset(encoded, dataset)
        data = buffer.getvalue()
        meta = FileMeta(
            sop_class, dataset.SOPInstanceUID, syntax, sending_aet=sender, private_creator_uid="1.2.3",
            private_information=b"own",
        )  # fmt: skip
        whole = encode_file_meta(meta) + data
        digest = hashlib.sha256(data).hexdigest()
        reception = new_id().replace("-", "")
        key = keys.instance_key(SERIES, dataset.SOPInstanceUID, digest, reception)
        self.store.put_bytes(key, whole)
        return ManifestInstance(
            sop_instance_uid=dataset.SOPInstanceUID, sop_class_uid=sop_class, transfer_syntax_uid=syntax, key=key,
            digest=digest, octets=len(whole), reception_id=reception,
        )  # fmt: skip

    async def delivery(self, target: str, instances: list[ManifestInstance], **changes: Any) -> str:
        """Create a delivery as the router does, and queue its work."""
        delivery_id, batch = new_id(), new_id()
        manifest = Manifest(
            batch_id=batch, batch=1, series_uid=SERIES, study_uid=STUDY, instances=instances, through_seq=1,
            first_received_at=now(), last_received_at=now(),
        )  # fmt: skip
        key = keys.manifest_key(SERIES, batch)
        self.store.put_bytes(key, manifest.model_dump_json().encode())
        record = DeliveryRecord(
            delivery_id=delivery_id, series_uid=SERIES, study_uid=STUDY, batch_id=batch, target=target,
            manifest_key=key, instances=len(instances), octets=1, created_at=now(), updated_at=now(),
        ).model_copy(update=changes)  # fmt: skip
        await self.bus.create(subjects.STATE, subjects.delivery_state(delivery_id), record)
        if await self.bus.load(subjects.STATE, subjects.series_state(SERIES), SeriesRecord) is None:
            series = SeriesRecord(series_uid=SERIES, study_uid=STUDY, created_at=now(), updated_at=now())
            await self.bus.create(subjects.STATE, subjects.series_state(SERIES), series)
        await self.queue(delivery_id, target, record.priority.value)
        return delivery_id

    async def queue(self, delivery_id: str, target: str, priority: str = "normal") -> None:
        work = DeliveryWork(delivery_id=delivery_id)
        await self.bus.enqueue(subjects.delivery_work(target, priority), work, new_id())

    async def targets(self, *targets: config.AnyTarget) -> None:
        """Save the targets as the web service does, their secrets sealed."""
        await self.save(config.Kind.TARGETS, sealed_targets(config.Targets(targets=targets), config.Targets(), SEALER))

    async def save(self, kind: config.Kind, document: config.AnyDocument) -> None:
        self.revision += 1
        plain = document.model_dump(mode="json")
        value = config.Revision(kind=kind, revision=self.revision, author="t", time=now(), document=plain)
        await self.bus.send(f"$KV.{subjects.CONFIG}.{kind.value}", value.model_dump_json().encode())

    def to_folder(self, slug: str = "folder", **more: Any) -> config.FolderTarget:
        path = self.folder / slug
        path.mkdir(exist_ok=True)
        return config.FolderTarget(slug=slug, name=slug, path=str(path), **({"retry": QUICK} | more))

    async def command(
        self,
        delivery_id: str,
        action: Any,
        scope: Any = "missing",
        command_id: str = "",
        to: str | None = None,
        bulk: str = "",
    ) -> None:
        command = DeliveryCommand(
            command_id=command_id or new_id(), actor="ann", reason="so it is", delivery_id=delivery_id, action=action,
            scope=scope, to=to, bulk=bulk,
        )  # fmt: skip
        await self.bus.enqueue(subjects.DELIVERY_COMMANDS, command, new_id())

    # -- what became of it

    async def record(self, delivery_id: str) -> DeliveryRecord:
        found = await self.bus.load(subjects.STATE, subjects.delivery_state(delivery_id), DeliveryRecord)
        assert found is not None
        return found[0]

    async def change(self, delivery_id: str, **changes: Any) -> None:
        key = subjects.delivery_state(delivery_id)
        found = await self.bus.load(subjects.STATE, key, DeliveryRecord)
        assert found is not None
        await self.bus.update(subjects.STATE, key, found[0].model_copy(update=changes), found[1])

    async def until(self, delivery_id: str, *states: DeliveryState, seconds: float = 15) -> DeliveryRecord:
        deadline = time.monotonic() + seconds
        while (record := await self.record(delivery_id)).state not in states:
            assert time.monotonic() < deadline, f"it is {record.state} ({record.reason}), not {states}"
            await asyncio.sleep(0.05)
        return record

    async def said(self, delivery_id: str, verb: str) -> list[Any]:
        """Every event of a verb about a delivery, each id once."""
        found: dict[str, Any] = {}
        async for message in self.bus.read(subjects.EVENTS, f"hermes.v1.delivery.{verb}.*", 0):
            envelope = events.decode(message.headers, message.data)
            if getattr(envelope.event, "delivery_id", "") == delivery_id:
                found[envelope.id] = envelope.event
        return list(found.values())

    async def outcomes(self, delivery_id: str) -> list[events.InstanceOutcome]:
        return [outcome for event in await self.said(delivery_id, "progressed") for outcome in event.outcomes]

    async def down(self, target: str, seconds: float = 25) -> TargetRecord:
        """Wait until a target is down."""
        deadline = time.monotonic() + seconds
        while (found := await self.bus.load(subjects.STATE, subjects.target_state(target), TargetRecord)) is None:
            assert time.monotonic() < deadline, f"{target} is not down"
            await asyncio.sleep(0.05)
        return found[0]

    async def events(self, entity: str) -> list[Any]:
        """Every event of an entity, each id once."""
        found: dict[str, Any] = {}
        async for message in self.bus.read(subjects.EVENTS, f"hermes.v1.{entity}.>", 0):
            envelope = events.decode(message.headers, message.data)
            found[envelope.id] = envelope.event
        return list(found.values())

    # -- dispatchers

    @contextlib.asynccontextmanager
    async def dispatcher(self, name: str = "dispatcher@a") -> AsyncIterator[asyncio.Event]:
        """A running dispatcher; at the end it is stopped."""
        bus = Bus(RuntimeSettings(nats_url=SecretStr(self.url)), name)
        bus.start()
        await bus.ready()
        await bus.common_time()
        view, stop = ConfigView(bus), asyncio.Event()
        pace = Pace(self.lease, timedelta(milliseconds=20), timedelta(seconds=2))
        tester = Prober(name, self.sender_of)
        watch = Watch(bus, view, tester.test_endpoint)
        running = Running(bus)
        objects = Objects(self.store, 100_000, self.folder)
        supplies = Supplies(objects, self.changer, SEALER)
        manifests = Manifests(StoredDocuments(bus, self.store))
        worker = Worker(bus, view, manifests, supplies, self.sender_of, watch, pace, stop, running)
        committer = committing.Committer(bus, view, manifests, asking(SEALER), watch, stop)
        queues = Queues(bus, view, watch, worker.handle, stop, self.lease, ack_wait=timedelta(seconds=2))
        background = [asyncio.create_task(view.run()), asyncio.create_task(Answerer(bus, view, tester).run())]
        background.append(asyncio.create_task(running.run()))
        background.append(asyncio.create_task(bus.keep_time(stop)))
        background.append(asyncio.create_task(Previewer(bus, supplies, name).run()))
        tasks = [
            asyncio.create_task(queues.run()),
            asyncio.create_task(watch.run(stop)),
            asyncio.create_task(Expiry(bus, view, watch, timedelta(milliseconds=200)).run(stop)),
            asyncio.create_task(ConsumerLoop(bus, due.CONSUMER, stop).each(due.Due(bus, view).handle, 4)),
            asyncio.create_task(ConsumerLoop(bus, committing.DUE, stop).each(committer.due, 4)),
            asyncio.create_task(ConsumerLoop(bus, committing.ANSWERS, stop).each(committer.answered, 4)),
            asyncio.create_task(ConsumerLoop(bus, commanding.CONSUMER, stop).each(commanding.Commander(bus).handle, 8)),
        ]
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), 20)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await bus.close()


@pytest.fixture(scope="session")
def changer_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changer]:
    """Changes for every test: its process is started once, by the first that needs it."""
    folder = tmp_path_factory.mktemp("changed")
    made = Changer(Limits(1, 256 * 1024 * 1024, timedelta(seconds=60), 100_000, folder))
    yield made
    made.close()
    assert list(folder.iterdir()) == []


@pytest.fixture
async def place(
    bus: Bus, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changer_of_all: Changer
) -> AsyncIterator[Place]:
    monkeypatch.setattr("hermes_common.runtime.consumer._FETCH", 0.3)  # how long a stop waits for an empty queue
    made = Place(bus, nats_url, tmp_path, changer_of_all)
    yield made
    for process in made.started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    made.store.close()
