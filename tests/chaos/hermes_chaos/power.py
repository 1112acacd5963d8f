"""``python -m hermes_chaos.power``: the power is cut while series are on their way, again and again.

Everything of the router lies on a disk of its own (``hermes_chaos.disk``); sender and targets are elsewhere, as on
other machines. At a moment that chance chooses every process of the router is stopped, the power of the disk is cut,
and the processes are killed. Then the disk is mounted and the router started again, and what was acknowledged has to
come to its end without anybody's help: nothing lost, nothing parked, and all books agree.

With ``--unsynced`` receiver and NATS write without fsync: a trial that does not lose anything then shows nothing.
"""

import argparse
import logging
import math
import os
import platform
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests/, for its harness

from hermes_chaos.books import Ledger
from hermes_chaos.checker import LedgerViolation
from hermes_chaos.disk import Disk, DiskUnusableError, families, signal_all
from hermes_chaos.fleet import Fleet
from hermes_chaos.report import versions
from hermes_chaos.scenarios import CHECKOUT
from hermes_chaos.sender import Series
from hermes_chaos.world import World
from hermes_local.errors import StartFailedError

log = logging.getLogger("hermes_chaos.power")

DISK = 16 * 1024**3
"""Octets of the disk; the file is sparse."""

ROUTES = ("steady", "study", "archive", "nowhere")
"""To one target, by a rule about studies, with storage commitment, and to none."""

INSTANCES = (4, 12)
"""Of a series."""

SENDERS = 4
LONGEST = 600.0
"""Seconds that the sending of one round may take."""

WITNESS = b"x" * 8192
"""Of a file that is written without fsync just before a cut, and has to be gone or empty."""

ENDS_WITHIN = 180.0
"""Seconds after the router is back within which everything has to have ended."""

CONTROL_WITHIN = 120.0
"""The same for the control, of which loss is expected: what is there has ended by then."""

NO_DISK = 2
NOTHING_LOST = 4
AS_SHIPPED = {"HERMES_SPOOL_GRACE": "10m"}
SITE = "import os\nos.fsync = os.fdatasync = lambda _: None\n"
RESTORED = "has been put back into the store from its copy"
UPLOADED_AGAIN = "it is uploaded again"


@dataclass(slots=True)
class Cut:
    """One cut and what became of it."""

    acknowledged: int
    """Instances that were acknowledged in all when the power was cut."""
    undelivered: int
    """Of these, those that no target had confirmed."""
    back: float = 0.0
    """Seconds until the router was ready again."""
    ended: float = 0.0
    """Seconds from then until everything had ended."""
    restored: int = 0
    """Documents that were put back from their copies."""
    uploaded: int = 0
    """Instances that the store had lost and the receiver uploaded again."""


@dataclass(slots=True)
class Trial:
    """What was done and found."""

    seed: int
    unsynced: bool
    cuts: list[Cut] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    deliveries: int = 0
    seconds: float = 0.0
    violation: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Contradictions that speak of loss."""
        return sum(line.startswith("lost:") or ": lost:" in line for line in self.violation)


class Powered:
    """A router on a disk whose power can be cut."""

    def __init__(self, folder: Path, stack: ExitStack, seed: int, *, unsynced: bool) -> None:
        self.chance = random.Random(seed)
        self.disk = Disk(folder, DISK)
        stack.callback(self.disk.close)
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        home = self.disk.path / "home"
        home.mkdir(mode=0o755)
        (home / "logs").symlink_to(self.logs)  # what they say is kept for us
        self.fleet = Fleet(home, settings={**AS_SHIPPED, **(_without_fsync(folder) if unsynced else {})})
        stack.callback(self.fleet.stop)
        self.ledger = Ledger()
        self.world = World(self.fleet, self.ledger, self.chance.getrandbits(32), folder, None)
        stack.callback(self.world.close)
        self.fleet.prepare()
        if unsynced:
            file = home / "nats" / "nats.conf"
            text = file.read_text("utf-8").replace("sync_interval: always", 'sync_interval: "2m"')
            file.write_text(text, "utf-8")
        self.fleet.run()
        self.world.configure()
        time.sleep(1)  # a change is promised to apply within a second
        self.disk.sync()

    def acknowledged(self) -> int:
        """Return how many instances have been acknowledged."""
        return sum(each.acknowledged_at is not None for each in self.ledger.snapshot()[0])

    def undelivered(self) -> int:
        """Return how many acknowledged instances no target has confirmed that is meant to get them."""
        sent, kept = self.ledger.snapshot()
        there = {each.sop_instance_uid for each in kept}
        return sum(
            bool(each.ends) and each.acknowledged_at is not None and each.sop_instance_uid not in there for each in sent
        )

    def series(self, instances: int) -> list[Series]:
        """Make series of so many instances together."""
        routes = [replace(route, instances=INSTANCES) for route in self.world.routes if route.name in ROUTES]
        made: list[Series] = []
        left = instances
        while left > 0:
            made.append(self.world.sender.make(self.chance.choice(routes), min(left, self.chance.randint(*INSTANCES))))
            left -= len(made[-1].instances)
        return made

    def cut(self) -> Cut:
        """Stop everything, cut the power, kill everything; mount and start again. Raises if the cut took nothing."""
        witness = self.disk.path / f"witness-{time.time_ns()}"
        witness.write_bytes(WITNESS)
        since = time.time()
        processes = families([process.pid for process in self.fleet.processes.values()])
        signal_all(processes, signal.SIGSTOP)
        self.disk.cut()
        done = Cut(self.acknowledged(), self.undelivered())
        signal_all(processes, signal.SIGKILL)
        for name in list(self.fleet.processes):
            self.fleet.kill(name)
        self.disk.unmount()
        self.disk.mount()
        if witness.exists() and witness.read_bytes() == WITNESS:
            raise ValueError("the cut left what was not fsynced: this trial shows nothing here")
        began = time.monotonic()
        self.fleet.run()
        done.back = time.monotonic() - began
        self.world.tally.add("power cut", since, repeats=True)
        return done

    def count(self, words: str) -> int:
        """Return how often the services have said something."""
        return sum(path.read_text("utf-8", errors="replace").count(words) for path in self.logs.glob("*.log*"))


def trial(cuts: int, instances: int, seed: int, folder: Path, *, unsynced: bool, seconds: float = math.inf) -> Trial:
    """Cut the power so often while so many instances are on their way; return what was found.

    After so many ``seconds`` no further cut is prepared.
    """
    found = Trial(seed, unsynced)
    began = time.monotonic()
    with ExitStack() as stack:
        powered = Powered(folder, stack, seed, unsynced=unsynced)
        pool = stack.enter_context(ThreadPoolExecutor(SENDERS, thread_name_prefix="sender"))
        stack.callback(powered.world.sender.stop)
        for number in range(cuts):
            if time.monotonic() - began > seconds:
                break
            share = instances // cuts + (number < instances % cuts)
            try:
                _round(powered, pool, share, found)
            except LedgerViolation as violation:
                found.violation = violation.contradictions
                break
            except StartFailedError as error:
                found.violation = [f"did not come up again: {error}"]
                break
        found.sent, found.acknowledged = len(powered.ledger.snapshot()[0]), powered.acknowledged()
    found.seconds = time.monotonic() - began
    return found


def _round(powered: Powered, pool: ThreadPoolExecutor, instances: int, found: Trial) -> None:
    """Send, cut, wait for the end, and join all books."""
    before = powered.acknowledged()
    restored, uploaded = powered.count(RESTORED), powered.count(UPLOADED_AGAIN)
    sending: list[Future[bool]] = [pool.submit(powered.world.sender.send, each) for each in powered.series(instances)]
    share = powered.chance.uniform(0.05, 1.0)
    deadline = time.monotonic() + LONGEST
    while powered.acknowledged() - before < share * instances and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(powered.chance.uniform(0.0, 4.0))
    done = powered.cut()
    found.cuts.append(done)
    back = time.monotonic()
    for each in sending:
        each.result(max(1.0, deadline - time.monotonic()))
    try:
        powered.world.settle(CONTROL_WITHIN if found.unsynced else ENDS_WITHIN)
        done.ended = time.monotonic() - back
        powered.world.all_run()
        evidence = powered.world.join(ENDS_WITHIN)  # the receiver compares its copies with what the store has
    except LedgerViolation:
        done.ended = time.monotonic() - back
        powered.world.join(0)  # what is not there at all is said first
        raise
    finally:
        done.restored = powered.count(RESTORED) - restored
        done.uploaded = powered.count(UPLOADED_AGAIN) - uploaded
    found.deliveries = len(evidence.deliveries)
    log.info("cut %d: %s; %d instances, no contradiction", len(found.cuts), done, len(evidence.sent))


def _without_fsync(folder: Path) -> dict[str, str]:
    """Return what has Python processes write without fsync."""
    place = folder / "unsynced"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(SITE, "utf-8")
    return {"PYTHONPATH": str(place)}


def report(found: Trial) -> str:
    """Return the report of a trial, for people (Markdown)."""
    what = "Control: receiver and NATS without fsync" if found.unsynced else "The power is cut"
    lines = [f"# {what}, {datetime.now(UTC):%Y-%m-%d}, seed {found.seed}", ""]
    said = f"{len(found.cuts)} cuts, {found.sent} instances sent, {found.acknowledged} acknowledged, "
    said += f"{found.deliveries} deliveries, {found.seconds:.0f} s on {os.cpu_count()} cores: "
    if found.violation:
        said += f"**{len(found.violation)} contradictions, {found.lost} of them loss**."
    else:
        bound = 1 - 0.05 ** (1 / max(1, len(found.cuts)))
        said += f"**0 lost, 0 parked, all books agree** (95 %: less than {bound:.0%} of cuts lose anything)."
    lines += [said, ""]
    if found.violation:
        lines += [*(f"- {line}" for line in found.violation[:10]), ""]
    lines += [
        "| cut | acknowledged | not delivered | back after | ended after | documents put back | uploaded again |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {number} | {cut.acknowledged} | {cut.undelivered} | {cut.back:.1f} s | {cut.ended:.1f} s | "
            f"{cut.restored} | {cut.uploaded} |"
            for number, cut in enumerate(found.cuts, 1)
        ),
        "",
        "Targets are tried again every second, so that what is not in the store yet is waited for.",
        "At each cut a file that was written without fsync a moment before was gone or empty.",
        "The cut takes what lies in the page cache and the journal in memory, and nothing that a drive caches itself.",
        "",
        f"Linux {platform.release()}, ext4; {versions(CHECKOUT)}",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; print the report last.

    Returns 0, 1 after a contradiction, 2 where there cannot be such a disk. With ``--unsynced``: 0 if
    something was lost, 4 if nothing was.
    """
    parser = argparse.ArgumentParser(prog="hermes_chaos.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=3, help="how often the power is cut (3)")
    parser.add_argument("--instances", type=int, default=1500, help="instances in all (1500)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="what chance starts from"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="prepare no cut after so many seconds")
    parser.add_argument("--unsynced", action="store_true", help="the control: receiver and NATS without fsync")
    parser.add_argument("--keep", action="store_true", help="leave disk and logs where they are")
    parser.add_argument("--report", type=Path, help="append the report to this file too")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # processes and disk end in order
    folder = Path("/var/tmp") / f"hermes-power-{os.getpid()}"
    print(f"seed {given.seed}; logs in {folder / 'logs'}", flush=True)
    try:
        found = trial(given.cuts, given.instances, given.seed, folder, unsynced=given.unsynced, seconds=given.seconds)
    except DiskUnusableError as error:
        print(error, file=sys.stderr)
        return NO_DISK
    finally:
        if not given.keep and not (folder / "disk").is_mount():
            shutil.rmtree(folder, ignore_errors=True)
    text = report(found)
    print(text)
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        with given.report.open("a", encoding="utf-8") as file:
            file.write(text)
    if given.unsynced:
        return 0 if found.violation else NOTHING_LOST
    return 1 if found.violation else 0


if __name__ == "__main__":
    sys.exit(main())
