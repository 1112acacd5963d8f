"""``python -m hermes_chaos.soak``: an ordinary load for a while, and whether memory, files and threads stay level.

Hermes as ``hermes up`` starts it. Series come all the time: most go to a target that takes them, some to nobody, some
to a target that is down; lists are asked for meanwhile, and what is done is deleted after a minute. Every half minute
each service says what it holds: memory that is its own (USS), open files, threads, of all its processes. After the
first part, in which caches fill, a line is laid through the rest; its slope is what is gained in an hour.

The exit code is 1 if a service of Hermes gains more than ``--most`` MiB an hour, or files or threads; a series that
does not come to its end is an error. What is read is Linux's; the servers (NATS, S3, PostgreSQL) are in the table and
decide nothing.
"""

import argparse
import contextlib
import json
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests/, for its harness

from harness import Hermes, StoreScp, free_port, home_folder, make_series, rule, storescu, target, until

from hermes_chaos.report import versions
from hermes_chaos.scenarios import CHECKOUT

log = logging.getLogger("hermes_chaos.soak")

SERVICES = ("receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web")
MIB = 1024 * 1024
PERIOD = 30.0
"""Seconds between two looks."""
WARM = 1 / 3
"""Of the time, while which caches may fill."""
PAUSE = 1.5
"""Seconds between series."""
INSTANCES = 12
OCTETS = 40_000
ENDS_WITHIN = 120.0
LISTS = ("/series", "/deliveries", "/alerts", "/targets/states", "/events")
ASIDE = {3: "nobody", 8: "down"}
"""Of ten series, the places of those that go to nobody, or to a target that is down."""


TEXT = """# {minutes:.0f} minutes of an ordinary load, {day}

    just soak --minutes {minutes:.0f}

{series} series of {instances} instances of {octets} KB; of ten one for a target that is down and one for nobody;
retention a minute. Memory is what belongs to the processes of a service alone (USS). The line is laid through the last
two thirds of the time. {verdict}. {versions}

{rows}
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the processes of a service hold at one time."""

    at: float
    """Seconds since the start."""
    memory: float
    """MiB that are theirs alone (USS)."""
    files: int
    threads: int
    processes: int


def held(pid: int, at: float) -> Held:
    """Return what a process and everything below it holds. Raises psutil.NoSuchProcess."""
    memory = files = threads = processes = 0
    top = psutil.Process(pid)
    for process in [top, *top.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            memory += process.memory_full_info().uss
            files += process.num_fds()
            threads += process.num_threads()
            processes += 1
    return Held(at, memory / MIB, files, threads, processes)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares, of values over seconds, in units an hour."""
    at, value = zip(*points, strict=True)
    return statistics.linear_regression(at, value).slope * 3600


class Load:
    """Sends series of its own, one after the other, and looks at lists meanwhile."""

    def __init__(self, hermes: Hermes, work: Path, program: str) -> None:
        self._hermes, self._work, self._program = hermes, work, program
        self.sent: list[str] = []
        """UIDs of the series that are to be delivered."""
        self.series = 0

    def step(self) -> None:
        """Send the next series, and ask for the lists that a page asks for. Raises AssertionError when refused."""
        kind = ASIDE.get(self.series % 10, "pacs")
        folder = self._work / "series"
        series = make_series(folder, INSTANCES, OCTETS, StationName=kind)
        sent = storescu(self._program, self._hermes.dicom_port, series.files)
        assert sent.returncode == 0, sent.stderr
        shutil.rmtree(folder)
        self.series += 1
        if kind == "pacs":
            self.sent.append(series.uid)
        with self._hermes.api() as api:
            for path in LISTS:
                api.get(path)
            api.get("/series", q=f"uid:{series.uid}")


def soak(hermes: Hermes, scp: StoreScp, work: Path, seconds: float) -> tuple[dict[str, list[Held]], Load]:
    """Send for ``seconds``; return what each process held at each look."""
    program = shutil.which("storescu")
    assert program is not None, "DCMTK is missing: apt-get install dcmtk"
    load = Load(hermes, work, program)
    looks: dict[str, list[Held]] = {name: [] for name in hermes.run()["processes"]}
    start = time.monotonic()
    next_look = start + PERIOD
    while (now := time.monotonic()) - start < seconds:
        load.step()
        if now >= next_look:
            next_look += PERIOD
            for name, entry in hermes.run()["processes"].items():
                looks[name].append(held(entry["pid"], now - start))
            for path in scp.received():
                path.unlink()
            log.info("%4.0f s, %d series: %s", now - start, load.series, _said(looks))
        time.sleep(PAUSE)
    for uid in load.sent[-20:]:
        until(f"{uid} delivered", lambda uid=uid: hermes.reached(uid, "delivered", "deleted"), ENDS_WITHIN)
    return looks, load


def _said(looks: dict[str, list[Held]]) -> str:
    return ", ".join(f"{name} {looks[name][-1].memory:.1f} MiB" for name in SERVICES)


def table(looks: dict[str, list[Held]], seconds: float) -> str:
    """Return what was held at the first and at the last look after the caches were full, and the slope of memory."""
    rows = [
        "| | MiB at first | at last | **MiB an hour** | files first, last | threads first, last | processes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, every in looks.items():
        rest = _after(every, seconds)
        rise = slope([(look.at, look.memory) for look in rest])
        first, last = rest[0], rest[-1]
        rows.append(
            f"| {name} | {first.memory:.1f} | {last.memory:.1f} | **{rise:+.2f}** | {first.files}, {last.files} "
            f"| {first.threads}, {last.threads} | {last.processes} |"
        )
    return "\n".join(rows)


def unlevel(looks: dict[str, list[Held]], seconds: float, most: float) -> list[str]:
    """Return in words what does not stay level: memory by more than ``most`` MiB an hour; files and threads where the
    least of the last third is more than the most of the third before it.
    """
    found = []
    for name in SERVICES:
        rest = _after(looks[name], seconds)
        rise = slope([(look.at, look.memory) for look in rest])
        if rise > most:
            found.append(f"{name} gains {rise:.2f} MiB an hour")
        half = len(rest) // 2
        for what in ("files", "threads"):
            before, last = ([getattr(look, what) for look in part] for part in (rest[:half], rest[half:]))
            if min(last) > max(before):
                found.append(f"{name} gains {what}: {max(before)} at most before, {min(last)} at least at the end")
    return found


def _after(looks: list[Held], seconds: float) -> list[Held]:
    return [look for look in looks if look.at > seconds * WARM]


def main() -> int:
    """Start everything, send, say what was held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--most", type=float, default=1.0, help="MiB an hour that a service may gain")
    parser.add_argument("--report", type=Path, help="write the table there, and every look beside it as JSON")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    seconds = chosen.minutes * 60
    if seconds * (1 - WARM) < 4 * PERIOD:
        parser.error("--minutes: at least 3, or there is nothing to lay a line through")
    home, work = home_folder("soak"), Path(tempfile.mkdtemp(prefix="hermes-soak-"))
    hermes = Hermes(home)
    scp = StoreScp(shutil.which("storescp") or "storescp", work / "target", free_port())
    try:
        hermes.start()
        scp.start()
        hermes.configure(
            [target("pacs", scp.port), target("down", free_port())],
            [rule("pacs", 'StationName == "pacs"', "pacs"), rule("down", 'StationName == "down"', "down")],
            delivered="1m",
            unmatched="1m",
        )
        looks, load = soak(hermes, scp, work, seconds)
    finally:
        scp.stop()
        hermes.stop()
        shutil.rmtree(home.parent, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    rows, problems = table(looks, seconds), unlevel(looks, seconds, chosen.most)
    said = TEXT.format(
        minutes=chosen.minutes,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        series=load.series,
        instances=INSTANCES,
        octets=OCTETS // 1000,
        verdict="; ".join(problems) or f"No service gains more than {chosen.most} MiB an hour, files or threads",
        versions=versions(CHECKOUT),
        rows=rows,
    )
    sys.stdout.write(said)
    if chosen.report is not None:
        chosen.report.write_text(said, encoding="utf-8")
        every = {name: [asdict(look) for look in each] for name, each in looks.items()}
        chosen.report.with_suffix(".json").write_text(json.dumps(every), encoding="utf-8")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
