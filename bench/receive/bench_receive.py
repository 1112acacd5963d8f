"""The receiver beside DCMTK's storescp and Orthanc, in one run, taking turns; see README.md.

    .venv/bin/python bench/receive/bench_receive.py throughput [--kind ct|mr|tiny|large] [--rounds 5] [--tmpfs]
    .venv/bin/python bench/receive/bench_receive.py orthanc
    .venv/bin/python bench/receive/bench_receive.py nagle
    .venv/bin/python bench/receive/bench_receive.py latency
    .venv/bin/python bench/receive/bench_receive.py memory
    .venv/bin/python bench/receive/bench_receive.py attacked
    .venv/bin/python bench/receive/bench_receive.py disk

Each writes a table (Markdown) and its figures (JSON) into bench/receive/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import attack
import report
from disk import written
from objects import KINDS, Kind, generate
from receivers import HermesReceiver, Running, orthanc, pause, storescp, storescp_as_it_comes
from senders import send_dcmtk, send_fast

from hermes_local.servers.testing import nats_server, s3_server

Start = Callable[[Path], AbstractContextManager[Running]]

TMPFS = Path("/dev/shm")


@dataclass
class Sample:
    """One run: what was sent how, how long it took, and what it cost the receiver."""

    receiver: str
    sender: str
    kind: str
    associations: int
    instances: int
    seconds: float
    cpu: float
    cpu_settled: float

    @property
    def rate(self) -> float:
        """Instances a second."""
        return self.instances / self.seconds


def run_once(
    start: Start, name: str, sender: str, kind: str, files: list[Path], associations: int, work: Path
) -> Sample:
    """Start a receiver in an empty folder, send, and stop it."""
    with start(work / "receiver") as running:
        before = running.cpu()
        if sender == "fast":
            seconds = send_fast(running.port, files, associations)
        else:
            program, _, nagle = sender.partition("+")
            seconds = send_dcmtk(program, running.port, files, associations, nagle=bool(nagle))
        cpu = running.cpu() - before
        running.settle()
        settled = running.cpu() - before
    pause()
    count = len(files)
    return Sample(name, sender, kind, associations, count, seconds, cpu * 1e3 / count, settled * 1e3 / count)


def compare(
    starts: dict[str, Start],
    senders: list[str],
    kind: Kind,
    counts: dict[int, int],
    rounds: int,
    work: Path,
    fewer: dict[str, int],
) -> list[Sample]:
    """Run every receiver with every sender and number of associations, ``rounds`` times, taking turns."""
    most = max(counts.values())
    files = generate(work / "instances", kind, most)
    samples = []
    for number in range(rounds):
        for associations, count in counts.items():
            for sender in senders:
                for name, start in starts.items():
                    some = files[: min(count, fewer.get(name, count))]
                    samples.append(run_once(start, name, sender, kind.name, some, associations, work))
        print(f"{kind.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    (work / "instances").rename(work / f"instances-{kind.name}")
    return samples


def counts_of(kind: Kind, associations: Sequence[int]) -> dict[int, int]:
    """Return how many instances are sent over so many associations: of large ones as many for each."""
    return {n: kind.instances * (n if kind.name == "large" else 1) for n in associations}


def throughput(arguments: argparse.Namespace) -> None:
    """Rates and processor time, with senders that switch Nagle's algorithm off."""
    with workplace(tmpfs=arguments.tmpfs) as work, nats_server(work / "nats") as nats:
        starts: dict[str, Start] = {
            "hermes": HermesReceiver(nats, variables=variables(arguments)).started,
            "storescp 128K": lambda folder: storescp(folder, "--max-pdu", "131072"),
        }
        kind = KINDS[arguments.kind]
        counts = counts_of(kind, arguments.associations)
        samples = compare(starts, arguments.senders, kind, counts, arguments.rounds, work, {})
    where = "tmpfs" if arguments.tmpfs else "disk"
    save(f"throughput-{kind.name}-{where}", f"{kind.name}, {where}", samples, arguments.rounds)


def beside_orthanc(arguments: argparse.Namespace) -> None:
    """The same beside Orthanc, which gets a fifth of the instances."""
    results = []
    with workplace(tmpfs=False) as work, nats_server(work / "nats") as nats:
        starts: dict[str, Start] = {
            "hermes": HermesReceiver(nats, variables=variables(arguments)).started,
            "orthanc": orthanc,
        }
        for kind in (KINDS[name] for name in arguments.kinds):
            fewer = {"orthanc": kind.instances // 5} if kind.instances > 4 else {}
            results += compare(starts, ["fast"], kind, counts_of(kind, (1, 4)), arguments.rounds, work, fewer)
    save("orthanc", "beside Orthanc, disk", results, arguments.rounds)


def s3(arguments: argparse.Namespace) -> None:
    """The same receiver while its uploads go to S3 (the embedded store, on the same machine)."""
    with workplace(tmpfs=False) as work, nats_server(work / "nats") as nats, s3_server(work / "s3") as store:
        starts: dict[str, Start] = {
            "hermes, directory": HermesReceiver(nats, variables=variables(arguments)).started,
            "hermes": HermesReceiver(nats, store, variables(arguments)).started,
            "storescp 128K": lambda folder: storescp(folder, "--max-pdu", "131072"),
        }
        kind = KINDS[arguments.kind]
        counts = dict.fromkeys((1, 4), kind.instances)
        samples = compare(starts, ["fast"], kind, counts, arguments.rounds, work, {})
    save(f"s3-{kind.name}", f"{kind.name}, hermes uploads to S3 meanwhile", samples, arguments.rounds)


def nagle(arguments: argparse.Namespace) -> None:
    """Senders as they come: Nagle's algorithm on; storescp as it comes too."""
    results = []
    with workplace(tmpfs=False) as work, nats_server(work / "nats") as nats:
        starts: dict[str, Start] = {
            "hermes": HermesReceiver(nats, variables=variables(arguments)).started,
            "storescp": storescp_as_it_comes,
        }
        for kind in (KINDS[name] for name in arguments.kinds):
            counts = {1: 60, 4: 120}
            results += compare(
                starts, ["storescu+nagle", "dcmsend+nagle"], kind, counts, arguments.rounds, work, {"storescp": 30}
            )
    save("nagle", "senders with Nagle's algorithm on", results, arguments.rounds)


def latency(arguments: argparse.Namespace) -> None:
    """How long an answer takes at 50 instances a second."""
    rows = []
    with workplace(tmpfs=arguments.tmpfs) as work, nats_server(work / "nats") as nats:
        files = generate(work / "instances", KINDS["ct"], 50)
        starts: dict[str, Start] = {
            "hermes": HermesReceiver(nats, variables=variables(arguments)).started,
            "storescp 128K": lambda folder: storescp(folder, "--max-pdu", "131072"),
        }
        for name, start in starts.items():
            with start(work / "receiver") as running:
                times = attack.paced(running.port, files, per_second=50, seconds=arguments.seconds)
                running.settle()
            times.sort()
            rows.append(
                {
                    "receiver": name,
                    "answers": len(times),
                    "p50 ms": statistics.median(times) * 1e3,
                    "p99 ms": times[int(len(times) * 0.99)] * 1e3,
                    "most ms": times[-1] * 1e3,
                }
            )
    where = "tmpfs" if arguments.tmpfs else "disk"
    report.write(f"latency-{where}", f"answer times, CT at 50 instances a second, {where}", rows)


def memory(arguments: argparse.Namespace) -> None:
    """Resident memory while many small instances come in."""
    with workplace(tmpfs=False) as work, nats_server(work / "nats") as nats:
        files = generate(work / "instances", KINDS["tiny"], 2500)
        hermes = HermesReceiver(nats, variables={**variables(arguments), "HERMES_SPOOL_GRACE": "5s"})
        with hermes.started(work / "receiver") as running:
            rows = []
            sent = 0
            while sent < arguments.instances:
                send_fast(running.port, files, 4)
                sent += len(files)
                running.settle()
                if sent % 10_000 == 0:
                    rows.append({"instances": sent, "resident MB": running.memory() / 1e6})
                    print(rows[-1], file=sys.stderr, flush=True)
    report.write("memory", "resident memory over small instances (whole process tree)", rows)


def attacked(arguments: argparse.Namespace) -> None:
    """The honest rate and C-ECHO while others do their worst."""
    with workplace(tmpfs=False) as work, nats_server(work / "nats") as nats:
        files = generate(work / "instances", KINDS["ct"], 300)
        with HermesReceiver(nats, variables=variables(arguments)).started(work / "receiver") as running:
            rows = attack.under_attack(running, files, arguments.rounds)
    report.write("attacked", "honest traffic while attacked", rows)


def disk(arguments: argparse.Namespace) -> None:
    """What no receiver can exceed that answers when an instance is durable: the disk, without a network."""
    rows = []
    for kind in (KINDS[name] for name in ("ct", "mr", "tiny")):
        for writers in (1, 4, 8):
            found: dict[bool, list[float]] = {False: [], True: []}
            with workplace(tmpfs=False) as work:
                for number in range(arguments.rounds):
                    for durable, rates in found.items():
                        folder = work / f"{number}-{durable}"
                        rates.append(written(folder, kind.octets, 600, writers, durable=durable))
                        pause()
            plain, synced = (statistics.median(rates) for rates in found.values())
            rows.append(
                {
                    "kind": kind.name,
                    "writers": writers,
                    "written/s": plain,
                    "durable/s": synced,
                    "durable / written": synced / plain,
                    "n": arguments.rounds,
                }
            )
    report.write("disk", "files written, without and with fsync of file and folder; no network", rows)


def save(name: str, title: str, samples: list[Sample], rounds: int) -> None:
    """Write medians as a table, and every run."""
    groups: dict[tuple[str, str, int, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.kind, sample.sender, sample.associations, sample.receiver), []).append(sample)
    rows = []
    for (kind, sender, associations, receiver), runs in sorted(groups.items(), key=lambda item: item[0][:3]):
        ours = groups.get((kind, sender, associations, "hermes"), [])
        mine = statistics.median(run.rate for run in ours) if ours else 0.0
        rate = statistics.median(run.rate for run in runs)
        rows.append(
            {
                "kind": kind,
                "sender": sender,
                "associations": associations,
                "receiver": receiver,
                "instances/s": rate,
                "hermes / this": mine / rate if mine else 0.0,
                "CPU ms": statistics.median(run.cpu for run in runs),
                "CPU ms, uploads included": statistics.median(run.cpu_settled for run in runs),
                "n": len(runs),
            }
        )
    report.write(name, f"{title}; medians of {rounds}", rows, [asdict(sample) for sample in samples])


@contextlib.contextmanager
def workplace(*, tmpfs: bool) -> Iterator[Path]:
    """A folder on the disk, or in memory, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-bench-", dir=TMPFS if tmpfs else "/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def variables(arguments: argparse.Namespace) -> dict[str, str]:
    """Environment of the receiver that the command line asks for."""
    return dict(pair.split("=", 1) for pair in arguments.env)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="environment of the receiver")
    parser.add_argument("--rounds", type=int, default=5)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("throughput")
    one.add_argument("--kind", choices=KINDS, default="ct")
    one.add_argument("--tmpfs", action="store_true")
    one.add_argument("--associations", type=int, nargs="+", default=[1, 2, 4, 8])
    one.add_argument("--senders", nargs="+", default=["fast", "storescu", "dcmsend"])
    one.set_defaults(run=throughput)
    one = commands.add_parser("orthanc")
    one.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    one.set_defaults(run=beside_orthanc)
    one = commands.add_parser("s3")
    one.add_argument("--kind", choices=KINDS, default="ct")
    one.set_defaults(run=s3)
    one = commands.add_parser("nagle")
    one.add_argument("--kinds", nargs="+", choices=("ct", "mr", "tiny"), default=["ct", "mr", "tiny"])
    one.set_defaults(run=nagle)
    one = commands.add_parser("latency")
    one.add_argument("--seconds", type=int, default=40)
    one.add_argument("--tmpfs", action="store_true")
    one.set_defaults(run=latency)
    one = commands.add_parser("memory")
    one.add_argument("--instances", type=int, default=100_000)
    one.set_defaults(run=memory)
    commands.add_parser("attacked").set_defaults(run=attacked)
    commands.add_parser("disk").set_defaults(run=disk)
    chosen = parser.parse_args()
    chosen.run(chosen)


if __name__ == "__main__":
    main()
