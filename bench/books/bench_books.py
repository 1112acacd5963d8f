"""How fast events become history, whether all of it is there afterwards, and what one costs as the history grows.

    .venv/bin/python bench/books/bench_books.py rate [--events 100000] [--runs 2] [--json FILE]
    .venv/bin/python bench/books/bench_books.py twice [--events 100000] [--json FILE]
    .venv/bin/python bench/books/bench_books.py growth FOLDER... [--events 20000] [--runs 3] [--json FILE]

A real NATS (``sync_interval: always``) and PostgreSQL on this machine, the bookkeeper in this process. The events lie
in the stream, as after an outage of PostgreSQL or of the bookkeeper; the clock runs from its start until
none waits. ``rate``: an empty history. ``twice``: the same with every event in the stream twice, mixed.
``growth``: on top of the histories that ``kept.py`` made in these folders, in turns.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs in the lock
from checking import Check, check  # a file beside this one
from history import connected  # a file beside this one
from kept import kept_postgres  # a file beside this one
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
LIMIT = 300.0
MOST = 500
"""Messages on the way to the stream at once."""


@dataclass(frozen=True, slots=True)
class Run:
    """So many messages in so many seconds, with so many seconds of processor time."""

    messages: int
    seconds: float
    bookkeeper_cpu: float
    postgres_cpu: float
    nats_cpu: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def cost(self) -> dict[str, float]:
        """Return the microseconds of a message: of the clock, and of the processor by program."""
        spent = {
            "clock": self.seconds,
            "bookkeeper": self.bookkeeper_cpu,
            "postgres": self.postgres_cpu,
            "nats": self.nats_cpu,
        }
        return {name: round(value / self.messages * 1e6, 1) for name, value in spent.items()}


async def publish(bus: Bus, messages: Sequence[Message]) -> None:
    """Put messages into the stream, :data:`MOST` at a time."""
    for first in range(0, len(messages), MOST):
        sending = (bus.send(subject, body, headers) for subject, headers, body in messages[first : first + MOST])
        await asyncio.gather(*sending)


async def catch_up(nats: RunningNats, url: str, messages: Sequence[Message]) -> Run:
    """Put messages into the stream, start a bookkeeper, and return what it took until none waits."""
    bus = Bus(RuntimeSettings(nats_url=SecretStr(nats.url())), "bench")
    bus.start()
    await asyncio.wait_for(bus.ready(), 10)
    await publish(bus, messages)
    gc.collect()
    gc.freeze()  # what this bench keeps in memory is nothing that a bookkeeper would have to look through
    settings = Settings(database_url=SecretStr(url))
    stopping, migrated = asyncio.Event(), asyncio.Event()
    database = Database(settings.database_url, "bookkeeper")
    postgres = _postgres(url)
    begun, before = time.monotonic(), _spent(nats, postgres)
    task = asyncio.create_task(keep_books(bus, database, settings, stopping, migrated))
    await migrated.wait()
    while not await _is_done(bus):
        assert time.monotonic() - begun < LIMIT, "it takes too long"
        await asyncio.sleep(0.1)
    seconds, after = time.monotonic() - begun, _spent(nats, postgres)
    stopping.set()
    await asyncio.wait_for(task, 30)
    await database.close()
    await bus.js.purge_stream(subjects.EVENTS)
    await bus.close()
    return Run(len(messages), seconds, *(late - early for early, late in zip(before, after, strict=True)))


async def _is_done(bus: Bus) -> bool:
    with contextlib.suppress(Exception):  # there is no consumer yet
        return await lag(bus) == 0
    return False


def _postgres(url: str) -> psutil.Process:
    with connected(SecretStr(url)) as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(pid,)] = cursor.fetchall()
        return psutil.Process(pid).parent()


def _spent(nats: RunningNats, postgres: psutil.Process) -> tuple[float, float, float]:
    """Return the processor seconds of this process, of PostgreSQL and of NATS."""
    server = psutil.Process(nats.process.pid).cpu_times()
    postmaster = postgres.cpu_times()
    total = postmaster.user + postmaster.system + postmaster.children_user + postmaster.children_system
    for child in postgres.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            own = child.cpu_times()
            total += own.user + own.system
    return time.process_time(), total, server.user + server.system


def measured_rate(events: int, runs: int, twice: bool) -> dict[str, Any]:
    """An empty history, once for each run; every event twice and mixed if asked for."""
    found: list[dict[str, Any]] = []
    for number in range(runs):
        with (
            _folder() as folder,
            nats_server(folder / "nats") as nats,
            postgres_server(folder / "postgres") as postgres,
        ):
            root, series = f"1.2.3.{number}", events // EVENTS_A_SERIES
            messages = list(lives(root, series, INSTANCES))
            if twice:
                messages = mixed(messages)
            run = asyncio.run(catch_up(nats, postgres.url, messages))
            size = sum(len(body) for _, _, body in messages) / len(messages)
            books = check(SecretStr(postgres.url), root, series, INSTANCES, events_a_series=EVENTS_A_SERIES)
        found.append(report("twice, mixed" if twice else "rate", run, books) | {"octets_a_message": round(size)})
    return {"what": "twice" if twice else "rate", "runs": found}


def measured_growth(folders: Sequence[Path], events: int, runs: int) -> dict[str, Any]:
    """On top of long histories, in turns: what disturbs the machine for a while disturbs every size."""
    found: list[dict[str, Any]] = []
    with _folder() as folder, nats_server(folder / "nats") as nats:
        for _ in range(runs):
            for place in folders:
                with kept_postgres(place) as url:
                    with connected(SecretStr(url)) as cursor:
                        cursor.execute("SELECT count(*) FROM ledger.series")
                        [(there,)] = cursor.fetchall()
                    root = f"1.2.{time.time_ns()}"
                    series = events // EVENTS_A_SERIES
                    warm = list(lives(f"{root}.1", 20, INSTANCES))
                    asyncio.run(catch_up(nats, url, warm))
                    run = asyncio.run(catch_up(nats, url, list(lives(f"{root}.2", series, INSTANCES))))
                    books = check(SecretStr(url), f"{root}.2", series, INSTANCES, events_a_series=EVENTS_A_SERIES)
                found.append(report(f"{place.name} series", run, books) | {"history": place.name, "series": there})
    middle = {
        place.name: {
            name: round(statistics.median(run["us"][name] for run in found if run["history"] == place.name), 1)
            for name in ("clock", "bookkeeper", "postgres", "nats")
        }
        for place in folders
    }
    return {"what": "growth", "median_us": middle, "runs": found}


def mixed(messages: Sequence[Message]) -> list[Message]:
    """Return every message twice, the lives of series run into each other in random order.

    What is said about one series keeps its order, for that is what happened; its instances among themselves do not,
    and a repetition comes at any time after. It lacks the id by which the stream would leave it out.
    """
    chance = random.Random(1)  # the same order every time
    placed: list[tuple[float, Message]] = []
    for first in range(0, len(messages), EVENTS_A_SERIES):
        life = list(messages[first : first + EVENTS_A_SERIES])
        life[:INSTANCES] = chance.sample(life[:INSTANCES], INSTANCES)
        for place, (subject, headers, body) in zip(sorted(chance.random() for _ in life), life, strict=True):
            anonymous = {name: value for name, value in headers.items() if name != "Nats-Msg-Id"}
            placed += [(place, (subject, anonymous, body)), (chance.uniform(place, 1), (subject, anonymous, body))]
    return [message for _, message in sorted(placed, key=lambda each: each[0])]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hermes-bench-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def report(label: str, run: Run, books: Check) -> dict[str, Any]:
    """Print one run; return it for the results."""
    cost = run.cost()
    print(
        f"{label:>20} {run.messages:>8} messages {run.seconds:>6.1f} s {run.rate:>7.0f}/s, us each: {cost}, {books}",
        flush=True,
    )
    return {"messages": run.messages, "seconds": round(run.seconds, 2), "rate": round(run.rate), "us": cost} | {
        "books": asdict(books)
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    from hermes_local.servers.postgres import SETTINGS

    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "processor": model.partition(":")[2].strip(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "batch": Settings(database_url=SecretStr("postgresql://")).bookkeeper_batch,
        "shared_buffers": SETTINGS["shared_buffers"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "twice", "growth"))
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--events", type=int)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    about = machine()
    if asked.what == "growth":
        found = measured_growth(asked.folders, asked.events or 20_000, asked.runs)
    else:
        found = measured_rate(asked.events or 100_000, asked.runs, asked.what == "twice")
    if asked.json is not None:
        asked.json.write_text(json.dumps(about | found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
