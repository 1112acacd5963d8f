"""How fast events become history, and what one costs as the history grows.

    .venv/bin/python bench/books/bench_books.py rate [--events 100000]
    .venv/bin/python bench/books/bench_books.py growth [--series 10000 100000 1000000] [--events 20000]

A real NATS (``sync_interval: always``) and PostgreSQL on this machine, the bookkeeper in this process. ``rate``: the
events lie in the stream, as after an outage of PostgreSQL; the clock runs from the start of the bookkeeper until none
waits. ``growth``: the same with a history of so many series of ten instances each (``history.py``). Series have 100
instances with 60 attributes; 5 % of the events are those of series and deliveries.
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import history  # a file beside this one
from lives import Message, lives  # a file beside this one
from pydantic import SecretStr

from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.app import keep_books, lag
from hermes_bookkeeper.settings import Settings
from hermes_common import subjects
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import RunningNats, nats_server, postgres_server

INSTANCES = 100
EVENTS_A_SERIES = 112
LIMIT = 600.0


async def publish(bus: Bus, messages: Iterable[Message]) -> int:
    """Put messages into the stream, a thousand at a time; return how many."""
    sent, waiting = 0, []
    for subject, headers, body in messages:
        waiting.append(bus.send(subject, body, headers))
        if len(waiting) == 1000:
            await asyncio.gather(*waiting)
            sent, waiting = sent + len(waiting), []
    await asyncio.gather(*waiting)
    return sent + len(waiting)


async def catch_up(nats: RunningNats, url: str, root: str, events: int) -> tuple[int, float, float]:
    """Return how many events were recorded, in how many seconds, and with how many of the bookkeeper's CPU."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(nats.url())), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 10)
    sent = await publish(bus, lives(root, events // EVENTS_A_SERIES, INSTANCES))
    settings = Settings(database_url=SecretStr(url))
    stopping, migrated = asyncio.Event(), asyncio.Event()
    database = Database(settings.database_url, "bookkeeper")
    begun, cpu = time.monotonic(), time.process_time()
    task = asyncio.create_task(keep_books(bus, database, settings, stopping, migrated))
    await migrated.wait()
    while not await _is_done(bus):
        assert time.monotonic() - begun < LIMIT, "it takes too long"
        await asyncio.sleep(0.05)
    spent, used = time.monotonic() - begun, time.process_time() - cpu
    stopping.set()
    await asyncio.wait_for(task, 30)
    await database.close()
    await bus.js.purge_stream(subjects.EVENTS)
    await bus.close()
    return sent, spent, used


async def _is_done(bus: Bus) -> bool:
    with contextlib.suppress(Exception):  # there is no consumer yet
        return await lag(bus) == 0
    return False


def report(label: str, sent: int, spent: float, used: float) -> None:
    """Print one line."""
    rate, cost, cpu = sent / spent, spent / sent * 1e6, used / sent * 1e6
    print(f"{label:>28}  {sent:>8} events {spent:>7.1f} s {rate:>8.0f}/s {cost:>7.0f} us each, {cpu:.0f} of them ours")


def rate(folder: Path, events: int) -> None:
    """An empty history."""
    with nats_server(folder / "nats") as nats, postgres_server(folder / "postgres") as postgres:
        report("empty history", *asyncio.run(catch_up(nats, postgres.url, "1.2.3", events)))


def growth(folder: Path, sizes: Sequence[int], events: int, runs: int) -> None:
    """Histories of several sizes, one after the other; of the runs on each the fastest counts least disturbed."""
    with nats_server(folder / "nats") as nats:
        for size in sizes:
            with postgres_server(folder / f"postgres-{size}") as postgres:
                history.fill(SecretStr(postgres.url), size, say=False)
                for run in range(runs):
                    label = f"{size * history.PER_SERIES:,} instances"
                    found = asyncio.run(catch_up(nats, postgres.url, f"1.2.{size}.{run}", events))
                    report(label, *found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "growth"))
    parser.add_argument("--events", type=int)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hermes-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if asked.what == "rate":
            rate(folder, asked.events or 100_000)
        else:
            growth(folder, asked.series, asked.events or 20_000, asked.runs)


if __name__ == "__main__":
    main()
