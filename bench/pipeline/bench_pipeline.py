"""The whole way of a CT series, beside Orthanc routing by itself and DCMTK's tools put together as a pipeline.

    .venv/bin/python bench/pipeline/bench_pipeline.py [--runs 5] [--store s3|file] [--instances 300] [--kilobytes 525]
    .venv/bin/python bench/pipeline/bench_pipeline.py --latency [--store s3|file] [--series 50]

See README.md for what is measured.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "receive"), str(ROOT / "tests")]

import psutil
import report
from harness import (
    Hermes,
    Series,
    StoreScp,
    free_port,
    home_folder,
    listens,
    make_series,
    rule,
    storescu,
    target,
    until,
)

STORESCP, STORESCU, DCMSEND = "/usr/bin/storescp", "/usr/bin/storescu", "/usr/bin/dcmsend"
ORTHANC = "/usr/sbin/Orthanc"
ROUTE = "function OnStableSeries(id, tags, metadata) RestApiPost('/modalities/target/store', id) end"
PACE = 1.2
"""Seconds between two series of the latency cell: 50 a minute."""
QUIET = 2.0
"""Quiet period of that cell, in seconds."""


@dataclass
class Run:
    """Seconds of one run, and the copies that the target has after it."""

    sent: float
    first: float
    whole: float
    copies: int = 0
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time of each part of Hermes."""


def measure(port: int, series: Series, scp: StoreScp) -> Run:
    """Send a series to ``port`` and watch it arrive at ``scp``."""
    start = time.monotonic()
    done = storescu(STORESCU, port, series.files)
    assert done.returncode == 0, done.stderr
    sent = time.monotonic() - start
    first = until("the first file", lambda: scp.received() and time.monotonic() - start, 60, 0.002)
    until("the last file", lambda: len(scp.received()) == len(series.files), 120, 0.005)
    return Run(sent, first, time.monotonic() - start)


def hermes_run(hermes: Hermes, series: Series, folder: Path) -> Run:
    """One run through Hermes, with a target of its own."""
    scp = StoreScp(STORESCP, folder, free_port())
    scp.start()
    try:
        hermes.configure([target("pacs", scp.port)], [rule("ct", 'Modality == "CT"', "pacs")])
        before = spent(hermes)
        run = measure(hermes.dicom_port, series, scp)
        until("delivered", lambda: hermes.reached(series.uid, "delivered"), 60)
        run.spent = {name: seconds - before.get(name, 0.0) for name, seconds in spent(hermes).items()}
        run.copies = len(scp.received()) - len(series.files)
        return run
    finally:
        scp.stop()


def spent(hermes: Hermes) -> dict[str, float]:
    """Return the seconds of processor time that each service and server has taken so far, with its children."""
    found = {}
    for name, entry in hermes.run()["processes"].items():
        main = psutil.Process(int(entry["pid"]))
        found[name] = 0.0
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                found[name] += times.user + times.system
    return found


def pipeline_run(series: Series, folder: Path) -> Run:
    """One run through storescp and dcmsend."""
    scp = StoreScp(STORESCP, folder / "target", free_port())
    scp.start()
    port = free_port()
    (folder / "store").mkdir(parents=True)
    send = f"{DCMSEND} 127.0.0.1 {scp.port} +sd +r #p"
    command = [STORESCP, "+xa", "+uf", "-od", str(folder / "store"), "-ss", "s", "-tos", "1", "-xcs", send, str(port)]
    store = subprocess.Popen(command, env={**os.environ, "TCP_NODELAY": "1"}, stderr=subprocess.DEVNULL)
    try:
        until("storescp listens", lambda: listens(port), 10)
        return measure(port, series, scp)
    finally:
        store.terminate()
        store.wait(10)
        scp.stop()


def orthanc_run(series: Series, folder: Path) -> Run:
    """One run through an Orthanc of its own that sends each series on when it is stable, after one second."""
    scp = StoreScp(STORESCP, folder / "target", free_port())
    scp.start()
    port = free_port()
    (folder / "route.lua").write_text(ROUTE)
    configuration = {
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"), "DicomPort": port,
        "HttpServerEnabled": False, "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True, "StableAge": 1,
        "LuaScripts": [str(folder / "route.lua")], "Plugins": [],
        "DicomModalities": {"target": ["T", "127.0.0.1", scp.port]},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    orthanc = subprocess.Popen(
        [ORTHANC, str(folder / "orthanc.json")],
        env={**os.environ, "TCP_NODELAY": "1"},  # it is built on DCMTK, which asks for this
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until("Orthanc listens", lambda: listens(port), 30)
        return measure(port, series, scp)
    finally:
        orthanc.terminate()
        orthanc.wait(30)
        scp.stop()


@contextlib.contextmanager
def running(store: str) -> Iterator[Hermes]:
    """Hermes as ``hermes up`` starts it, with that store."""
    home = home_folder("bench")
    hermes = Hermes(home, **({} if store == "s3" else {"HERMES_OBJECT_STORE": f"file://{home.parent}/store"}))
    try:
        hermes.start()
        yield hermes
    finally:
        hermes.stop()
        shutil.rmtree(home.parent, ignore_errors=True)


def through_all(hermes: Hermes, series: Series, work: Path, turn: int) -> dict[str, Run]:
    """Take a series all three ways, beginning with another one each time."""
    ways = {
        "Hermes": lambda folder: hermes_run(hermes, series, folder),
        "Orthanc": lambda folder: orthanc_run(series, folder),
        "storescp + dcmsend": lambda folder: pipeline_run(series, folder),
    }
    names = list(ways)
    found = {}
    for name in names[turn % 3 :] + names[: turn % 3]:
        folder = work / f"run{turn}-{names.index(name)}"
        folder.mkdir(parents=True)
        found[name] = ways[name](folder)
        shutil.rmtree(folder)
    return found


def throughput(hermes: Hermes, work: Path, chosen: argparse.Namespace) -> None:
    """Measure the whole way, and write the table."""
    runs = []
    for number in range(chosen.runs + 1):
        series = make_series(work / f"series{number}", chosen.instances, chosen.kilobytes * 1000)
        runs.append(through_all(hermes, series, work, number))
        shutil.rmtree(series.folder)
    runs = runs[1:]  # the first is for warming up
    rows = []
    for name in ("Hermes", "Orthanc", "storescp + dcmsend"):
        whole = [run[name].whole for run in runs]
        ratios = [run[name].whole / run["Hermes"].whole for run in runs]
        busy = [(run[name].whole - 1) / (run["Hermes"].whole - 1) for run in runs]
        rows.append(
            {
                "way": name, "inst/s": chosen.instances / statistics.median(whole),
                "sender s": statistics.median(run[name].sent for run in runs), "whole s": statistics.median(whole),
                "Hermes is times as fast": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios),
                "the same without the second of silence": statistics.median(busy),
            }
        )  # fmt: skip
    samples = [{"run": n, "way": name, **vars(run)} for n, each in enumerate(runs) for name, run in each.items()]
    twice = sum(run["Hermes"].copies for run in runs)
    _write(
        f"whole-way-{chosen.store}",
        f"{chosen.instances} instances of {chosen.kilobytes} KB, store {chosen.store}: medians of {len(runs)} runs; "
        f"{twice} of {chosen.instances * len(runs)} came twice",
        rows,
        samples,
    )
    parts = {name: statistics.median(run["Hermes"].spent[name] for run in runs) for name in runs[0]["Hermes"].spent}
    _write(
        f"processor-{chosen.store}",
        f"Processor time of the parts of Hermes for one instance of {chosen.kilobytes} KB, store {chosen.store}",
        [
            {"part": name, "ms an instance": seconds * 1000 / chosen.instances}
            for name, seconds in sorted(parts.items(), key=lambda item: -item[1])
        ],
        [],
    )


def latency(hermes: Hermes, work: Path, chosen: argparse.Namespace) -> None:
    """Send small series at a pace; measure from the end of the sender to the first file at the target."""
    scp = StoreScp(STORESCP, work / "latency", free_port(), options=("-uf",))  # files are named by instance
    all_series = [make_series(work / f"small{number}", 5, 10_000) for number in range(chosen.series)]
    scp.start()
    hermes.configure([target("pacs", scp.port)], [rule("ct", 'Modality == "CT"', "pacs")], quiet=f"{QUIET:g}s")
    first: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        seen: set[str] = set()
        while not over.wait(0.005):
            for name in {path.name for path in scp.folder.iterdir()} - seen:
                seen.add(name)
                first.setdefault(name.partition(".")[2].rpartition(".")[0], time.monotonic())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    ended: dict[str, float] = {}
    begin = time.monotonic()
    try:
        for number, series in enumerate(all_series):
            time.sleep(max(0.0, begin + number * PACE - time.monotonic()))
            done = storescu(STORESCU, hermes.dicom_port, series.files)
            assert done.returncode == 0, done.stderr
            ended[series.uid] = time.monotonic()
        until("the last series", lambda: ended.keys() <= first.keys(), 30)
        until("every file", lambda: len(scp.received()) == 5 * len(all_series), 30)
    finally:
        over.set()
        watcher.join(5)
        scp.stop()
    over_quiet = sorted(first[uid] - ended[uid] - QUIET for uid in ended)
    p95 = over_quiet[max(0, -(-len(over_quiet) * 95 // 100) - 1)]
    row = {
        "series": len(over_quiet), "a minute": 60 / PACE, "median s": statistics.median(over_quiet), "p95 s": p95,
        "longest s": over_quiet[-1],
    }  # fmt: skip
    title = f"Sender's end to the first file at the target, less the quiet period of {QUIET:g} s, store {chosen.store}"
    _write(f"latency-{chosen.store}", title, [row], [{"over the quiet period": each} for each in over_quiet])


def _write(name: str, title: str, rows: Sequence[report.Row], samples: Sequence[report.Row]) -> None:
    report.RESULTS = ROOT / "bench" / "pipeline" / "results"
    report.write(name, f"{title} (`{shlex.join(sys.argv)}`)", rows, samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--store", choices=("s3", "file"), default="s3")
    parser.add_argument("--instances", type=int, default=300)
    parser.add_argument("--kilobytes", type=int, default=525)
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--series", type=int, default=50)
    chosen = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="hermes-bench-", dir="/var/tmp"))
    try:
        with running(chosen.store) as hermes:
            (latency if chosen.latency else throughput)(hermes, work, chosen)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
