"""What a copy on the bus costs (ADR-0032): documents into the store alone, and into the store and the bus, in turns.

Real servers, as the all-in-one starts them. Eight writes at a time, as a router decides.

    .venv/bin/python bench/documents/bench_documents.py [--documents 400] [--rounds 5] [--instances 200]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretStr

from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.objectstore import ObjectStore, open_store
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import nats_server, s3_server

AT_A_TIME = 8


def manifest(instances: int) -> Manifest:
    """Return a manifest of so many instances, with names and digests that do not compress."""
    items = []
    for number in range(instances):
        reception, uid = new_id().replace("-", ""), f"1.2.3.{number}"
        key = f"1.2.3/{uid}-{reception[:16]}-{reception}.dcm"
        items.append(
            ManifestInstance(
                sop_instance_uid=uid, sop_class_uid="1.2.840.10008.5.1.4.1.1.2", digest=reception * 2, octets=525_000,
                transfer_syntax_uid="1.2.840.10008.1.2.1", key=key, reception_id=reception,
            )
        )  # fmt: skip
    return Manifest(
        batch_id="b", batch=1, series_uid="1.2.3", study_uid="1.2", instances=items, through_seq=1,
        first_received_at=now(), last_received_at=now(),
    )  # fmt: skip


async def measure(count: int, write: Callable[[str], Awaitable[None]]) -> tuple[float, list[float]]:
    """Write so many documents; return documents a second, and the milliseconds that each took."""
    took: list[float] = []
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one() -> None:
        async with gate:
            began = time.perf_counter()
            await write(f"manifests/1.2.3/{new_id()}.json")
            took.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - began), took


async def compare(url: str, store: ObjectStore, count: int, rounds: int, document: Manifest) -> None:
    """Print both, round by round."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(url)), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 20)
    documents = StoredDocuments(bus, store)
    body = document.model_dump_json().encode()
    print(f"a manifest of {len(document.instances)} instances, {len(body)} octets; {AT_A_TIME} at a time")

    async def alone(key: str) -> None:
        await asyncio.to_thread(store.put_bytes, key, document.model_dump_json().encode())

    async def both(key: str) -> None:
        await documents.write(key, document)

    found: dict[str, list[float]] = {"store": [], "store and bus": []}
    await measure(50, alone)
    await measure(50, both)
    for number in range(rounds):
        for name, write in (("store", alone), ("store and bus", both)):
            rate, took = await measure(count, write)
            found[name].append(rate)
            p95 = sorted(took)[int(0.95 * len(took))]
            print(f"{number + 1} {name:14} {rate:6.0f}/s, median {statistics.median(took):5.1f} ms, p95 {p95:5.1f} ms")
    for name, rates in found.items():
        print(f"{name}: median of {rounds} rounds {statistics.median(rates):.0f}/s")
    await bus.close()


def main() -> None:
    """Start servers and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instances", type=int, default=200)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        nats_server(Path(folder) / "nats") as nats,
        s3_server(Path(folder) / "s3") as s3,
    ):
        store = open_store(
            "s3", s3_endpoint=s3.endpoint, s3_access_key=s3.access_key, s3_secret_key=s3.secret_key,
            s3_bucket=s3.bucket, s3_secure=False, threads=16,
        )  # fmt: skip
        asyncio.run(compare(nats.url(), store, given.documents, given.rounds, manifest(given.instances)))
        store.close()


if __name__ == "__main__":
    main()
