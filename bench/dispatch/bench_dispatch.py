"""The dispatcher beside DCMTK's dcmsend: the same instances to the same storescp, and to Orthanc.

    .venv/bin/python bench/dispatch/bench_dispatch.py [--rounds 5] [--kinds ct,mr] [--receivers storescp,orthanc]

See README.md for what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "receive"), str(ROOT / "tests")]

import nats.js.errors
import psutil
import report
from harness import free_port, until
from objects import KINDS, generate
from pydantic import SecretStr
from receivers import Running, orthanc, pause, storescp
from senders import send_dcmtk, shares

from hermes_common import config, events, keys, subjects
from hermes_common.commands import DeliveryWork
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.records import DeliveryRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import nats_server

ASSOCIATIONS = (1, 2, 4)
LONGEST = 60.0
"""Seconds that a run may take before it counts as failed."""

RECEIVERS: dict[str, Callable[[Path], AbstractContextManager[Running]]] = {
    "storescp": lambda folder: storescp(folder, "+uf"),
    "storescp-128k": lambda folder: storescp(folder, "+uf", "-pdu", "131072"),
    "orthanc": orthanc,
}
FEW = 300
"""Instances, and a third of all at most, that Orthanc gets, which takes long over each."""

SLOW = 30
"""Instances that an association of dcmsend gets where every one waits for a delayed acknowledgement."""


@dataclass(frozen=True)
class Sent:
    """One run: instances a second, and the sender's processor milliseconds for each instance."""

    speed: float
    cpu: float


class Dispatcher:
    """A running dispatcher, or several of them, with instances in their object store."""

    def __init__(
        self,
        bus: Bus,
        processes: Sequence[subprocess.Popen[bytes]],
        instances: list[ManifestInstance],
        store: DirectoryStore,
    ):
        self._bus = bus
        self._processes = processes
        self._instances = instances
        self._store = store
        self._revision = 0

    async def send(self, port: int, number: int, associations: int) -> Sent:
        """Have so many instances delivered, in as many deliveries at once as there are to be associations."""
        slug = f"t{new_id()[-12:]}"
        await self._configure(slug, port, associations)
        await self._bound(slug)
        records = [self._delivery(slug, share) for share in shares(self._instances[:number], associations)]
        for record in records:
            await self._bus.create(subjects.STATE, subjects.delivery_state(record.delivery_id), record)
        done: asyncio.Queue[float] = asyncio.Queue()

        async def succeeded(_: object) -> None:
            done.put_nowait(time.perf_counter())

        ends = f"{events.DeliverySucceeded.type()}.{slug}"
        subscription = await self._bus.nc.subscribe(ends, cb=succeeded)
        await self._bus.nc.flush()
        before, began = self._cpu(), time.perf_counter()
        for record in records:
            work = DeliveryWork(delivery_id=record.delivery_id)
            await self._bus.enqueue(subjects.delivery_work(slug), work, new_id())
        for _ in records:
            last = await asyncio.wait_for(done.get(), LONGEST)
        await subscription.unsubscribe()
        return Sent(number / (last - began), (self._cpu() - before) * 1000 / number)

    async def _bound(self, slug: str) -> None:
        """Wait until every dispatcher waits at the new queue: they look every second."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                waiting = (await self._bus.js.consumer_info(subjects.WORK, f"dispatch-{slug}")).num_waiting
                if waiting is not None and waiting >= len(self._processes):
                    return
            await asyncio.sleep(0.05)
        raise TimeoutError(f"the dispatcher does not read the queue of {slug}")

    def _delivery(self, slug: str, share: Sequence[ManifestInstance]) -> DeliveryRecord:
        batch, at = new_id(), now()
        manifest = Manifest(
            batch_id=batch, batch=1, series_uid="1.2.3", study_uid="1.2", instances=list(share), through_seq=1,
            first_received_at=at, last_received_at=at,
        )  # fmt: skip
        key = keys.manifest_key("1.2.3", batch)
        self._store.put_bytes(key, manifest.model_dump_json().encode())
        return DeliveryRecord(
            delivery_id=new_id(), series_uid="1.2.3", study_uid="1.2", batch_id=batch, target=slug, manifest_key=key,
            instances=len(share), octets=sum(item.octets for item in share), created_at=at, updated_at=at,
        )  # fmt: skip

    async def _configure(self, slug: str, port: int, associations: int) -> None:
        self._revision += 1
        made = config.DicomTarget(
            slug=slug, name=slug, host="127.0.0.1", port=port, called_aet="HERMES", calling_aet="BENCH",
            concurrency=associations,
        )  # fmt: skip
        document = config.Targets(targets=(made,)).model_dump(mode="json")
        value = config.Revision(
            kind=config.Kind.TARGETS, revision=self._revision, author="bench", time=now(), document=document
        )
        await self._bus.send(f"$KV.{subjects.CONFIG}.targets", value.model_dump_json().encode())

    def _cpu(self) -> float:
        times = [psutil.Process(process.pid).cpu_times() for process in self._processes]
        return sum(each.user + each.system for each in times)


def stored(store: DirectoryStore, files: Sequence[Path]) -> list[ManifestInstance]:
    """Put files into the store as the receiver does."""
    found = []
    for path in files:
        raw = path.read_bytes()
        part10 = parse_file_meta(raw)
        digest = hashlib.sha256(raw[part10.offset :]).hexdigest()
        reception = new_id().replace("-", "")
        key = keys.instance_key("1.2.3", part10.meta.sop_instance_uid, digest, reception)
        store.put_bytes(key, raw)
        found.append(
            ManifestInstance(
                sop_instance_uid=part10.meta.sop_instance_uid, sop_class_uid=part10.meta.sop_class_uid,
                transfer_syntax_uid=part10.meta.transfer_syntax, key=key, digest=digest, octets=len(raw),
                reception_id=reception,
            )
        )  # fmt: skip
    return found


@contextlib.asynccontextmanager
async def dispatcher(folder: Path, url: str, files: Sequence[Path], count: int) -> AsyncIterator[Dispatcher]:
    """The service as it is run, so many processes of it, with a directory store that has the instances."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(url)), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 20)
    store = DirectoryStore(folder / "objects")
    instances = stored(store, files)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            health = free_port()
            environment = clean | {
                "HERMES_NATS_URL": url,
                "HERMES_OBJECT_STORE": f"file://{folder}/objects",
                "HERMES_HEALTH_PORT": str(health),
                "HERMES_LOG_LEVEL": "warning",
            }
            command = [sys.executable, "-m", "hermes_dispatcher"]
            processes.append(await asyncio.to_thread(subprocess.Popen, command, env=environment))
            if len(processes) == 1:
                made = Dispatcher(bus, processes, instances, store)
                await made._configure("none", 1, 1)
            await asyncio.to_thread(until, "the dispatcher is ready", partial(_is_ready, health), 120, 0.1)
        yield made
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
        store.close()
        await bus.close()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def dcmsend(port: int, files: Sequence[Path], associations: int, *, nagle: bool) -> Sent:
    """Send with so many processes of dcmsend, Nagle's algorithm off or as it comes."""
    before = os.times()
    seconds = send_dcmtk("dcmsend", port, files, associations, nagle=nagle)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return Sent(len(files) / seconds, spent * 1000 / len(files))


async def compare(
    hermes: Dispatcher, files: Sequence[Path], names: Sequence[str], rounds: int, folder: Path, kind: str
) -> None:
    """Have both send in turn, a fresh receiver for each run, and write the table."""
    samples: list[dict[str, object]] = []
    for turn in range(rounds):
        for name in names:
            count = len(files) if name != "orthanc" else min(len(files) // 3, FEW)
            for associations in ASSOCIATIONS:
                senders = ["hermes", "dcmsend"] if turn % 2 == 0 else ["dcmsend", "hermes"]
                for sender in [*senders, *(["dcmsend, Nagle"] if turn == 0 else [])]:
                    part = count if sender != "dcmsend, Nagle" else min(count, SLOW * associations)
                    with received(name, folder) as running:
                        if sender == "hermes":
                            sent = await hermes.send(running.port, part, associations)
                        else:
                            nagle = sender != "dcmsend"
                            sent = await asyncio.to_thread(
                                dcmsend, running.port, files[:part], associations, nagle=nagle
                            )
                        came = sum(1 for _ in running.folder.iterdir()) if name != "orthanc" else None
                    samples.append(
                        {
                            "round": turn, "receiver": name, "associations": associations, "sender": sender,
                            "instances/s": sent.speed, "CPU ms": sent.cpu, "sent": part, "at the target": came,
                        }
                    )  # fmt: skip
                    await asyncio.to_thread(pause)
    rows = [row for name in names for associations in ASSOCIATIONS for row in [_row(samples, name, associations)]]
    report.RESULTS = ROOT / "bench" / "dispatch" / "results"
    title = f"Dispatcher beside dcmsend ({kind}), medians of {rounds} rounds; {copies(samples)}"
    report.write(f"throughput-{kind}", title, rows, samples)


@contextlib.contextmanager
def received(name: str, folder: Path) -> Iterator[Running]:
    """A fresh receiver of that name."""
    with RECEIVERS[name](folder / f"{name}-{new_id()[-8:]}") as running:
        yield running


def copies(samples: Sequence[dict[str, object]]) -> str:
    """Say how many instances were sent by Hermes, and how many files its targets have of them."""
    runs = [one for one in samples if one["sender"] == "hermes" and one["at the target"] is not None]
    sent, came = (sum(int(str(one[what])) for one in runs) for what in ("sent", "at the target"))
    return f"{sent} instances sent by Hermes to storescp, {came} C-STOREs there (a file each): {came - sent} twice"


def _row(samples: Sequence[dict[str, object]], name: str, associations: int) -> dict[str, object]:
    def of(sender: str, what: str) -> list[float]:
        return [
            float(str(one[what]))
            for one in samples
            if (one["receiver"], one["associations"], one["sender"]) == (name, associations, sender)
        ]

    ours, theirs = of("hermes", "instances/s"), of("dcmsend", "instances/s")
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "receiver": name,
        "associations": associations,
        "Hermes inst/s": statistics.median(ours),
        "dcmsend inst/s": statistics.median(theirs),
        "ratio (median of pairs)": statistics.median(pairs),
        "lowest": min(pairs),
        "highest": max(pairs),
        "dcmsend with Nagle": statistics.median(of("dcmsend, Nagle", "instances/s")),
        "Hermes CPU ms": statistics.median(of("hermes", "CPU ms")),
        "dcmsend CPU ms": statistics.median(of("dcmsend", "CPU ms")),
    }


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default="ct,mr,tiny")
    parser.add_argument("--receivers", default="storescp,orthanc", help=f"of {', '.join(RECEIVERS)}")
    parser.add_argument("--dispatchers", type=int, default=1, help="processes of the dispatcher")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hermes-bench-", dir="/var/tmp"))

    async def run(url: str) -> None:
        for kind in asked.kinds.split(","):
            mine = folder / kind
            files = await asyncio.to_thread(generate, mine / "files", KINDS[kind], KINDS[kind].instances)
            async with dispatcher(mine, url, files, asked.dispatchers) as hermes:
                name = kind if asked.dispatchers == 1 else f"{kind}-{asked.dispatchers}-dispatchers"
                await compare(hermes, files, asked.receivers.split(","), asked.rounds, mine, name)

    try:
        with nats_server(folder / "nats") as running:
            asyncio.run(run(running.url("operator")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
