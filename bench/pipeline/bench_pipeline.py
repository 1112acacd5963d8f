"""The whole way of a CT series, beside DCMTK's tools put together as a store-and-forward pipeline.

    .venv/bin/python bench/pipeline/bench_pipeline.py [--runs 5] [--store s3|file] [--instances 300] [--kilobytes 525]

Both get the same files from the same sender (storescu, Nagle's algorithm off) and deliver to the same kind of target
(storescp). The pipeline is storescp calling dcmsend for a study that has been quiet for one second; Hermes runs with
its shortest quiet period, one second too. The two take turns. Reported are medians, and the ratio pair by pair:

- whole: from the start of the sender to the last file at the target, instances a second;
- latency: from the end of the sender to the first file at the target, with a quiet period of two seconds (Hermes).
"""

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

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


@dataclass
class Run:
    """Seconds of one run."""

    sent: float
    first: float
    whole: float


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
        run = measure(hermes.dicom_port, series, scp)
        until("delivered", lambda: hermes.reached(series.uid, "delivered"), 60)
        return run
    finally:
        scp.stop()


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


def report(name: str, runs: list[Run], instances: int) -> None:
    whole = statistics.median(run.whole for run in runs)
    sent = statistics.median(run.sent for run in runs)
    rate = instances / whole
    print(f"{name:22} {rate:7.1f} instances/s   sender {sent:6.2f} s   whole {whole:6.2f} s   n={len(runs)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--store", choices=("s3", "file"), default="s3")
    parser.add_argument("--instances", type=int, default=300)
    parser.add_argument("--kilobytes", type=int, default=525)
    chosen = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="hermes-bench-"))
    home = home_folder("bench")
    variables = {} if chosen.store == "s3" else {"HERMES_OBJECT_STORE": f"file://{home.parent}/store"}
    hermes = Hermes(home, **variables)
    ours: list[Run] = []
    theirs: list[Run] = []
    try:
        hermes.start()
        for number in range(chosen.runs + 1):
            series = make_series(work / f"series{number}", chosen.instances, chosen.kilobytes * 1000)
            one = hermes_run(hermes, series, work / f"hermes{number}")
            other = pipeline_run(series, work / f"pipeline{number}")
            if number:  # the first is for warming up
                ours.append(one)
                theirs.append(other)
            for folder in (series.folder, work / f"hermes{number}", work / f"pipeline{number}"):
                shutil.rmtree(folder)
        small = [make_series(work / f"small{number}", 5, 10_000) for number in range(chosen.runs)]
        scp = StoreScp(STORESCP, work / "latency", free_port())
        scp.start()
        hermes.configure([target("pacs", scp.port)], [rule("ct", 'Modality == "CT"', "pacs")], quiet="2s")
        latencies = []
        for series in small:
            run = measure(hermes.dicom_port, series, scp)
            latencies.append(run.first - run.sent)
            shutil.rmtree(scp.folder)
            scp.folder.mkdir()
        scp.stop()
    finally:
        hermes.stop()
        shutil.rmtree(home.parent, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    print(f"{chosen.instances} instances of {chosen.kilobytes} KB, store {chosen.store}; {shlex.join(sys.argv)}")
    report("Hermes", ours, chosen.instances)
    report("storescp + dcmsend", theirs, chosen.instances)
    ratios = sorted(b.whole / a.whole for a, b in zip(ours, theirs, strict=True))
    print(f"ratio (more is better for Hermes), pair by pair: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print(f"last image sent to first file at the target, quiet period 2 s: {statistics.median(latencies):.2f} s median")


if __name__ == "__main__":
    main()
