"""The faults. Each scenario takes a world in which instances are on their way, does something to it, and says what it
did; that everything ends all the same is for the checker.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import nats
import nats.errors
import nats.js.errors

from hermes_chaos.books import confirms
from hermes_chaos.fleet import SERVER_NAMES, SERVICE_NAMES, crash_points
from hermes_chaos.rebuilding import differences
from hermes_chaos.sender import Route
from hermes_chaos.world import STUCK, World
from hermes_common import subjects

log = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parents[3]
RANDOM = "at random"
REACHED = 30.0
"""Seconds of being ready after which a crash point that was not passed is put off to the end; twice counts as not
reached."""

LONGEST = 600.0
"""Seconds after which no more is killed; what is left over counts as not reached."""

PERFORMED = 2.0
"""Seconds from one procedure step of the modality to the next."""

_NONE = Path("/usr/lib/faketime/libfaketimeMT.so.1")
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), _NONE)
DOUBLED: Final = ("router", "dispatcher")
REPEATING = frozenset({"dispatcher", "nats", "s3"})
"""Whose death has instances sent again that were under way."""


@dataclass(slots=True)
class Chain:
    """A process that dies again and again: at one crash point after the other, and at random in between."""

    name: str
    steps: list[str]
    step: str = ""
    ready_at: float | None = None
    kill_at: float = 0.0
    killed: bool = False
    put_off: set[str] = field(default_factory=set)

    def is_over(self) -> bool:
        """Whether it has died at every step, and runs for good now."""
        return not self.steps and not self.step


def kills(world: World) -> None:
    """kill -9 of every service at every crash point that its code names, and at random, all services side by side.

    Of router and dispatcher there are two, so that one is there while the other is not.
    """
    points = crash_points(CHECKOUT)
    chains = []
    for service in SERVICE_NAMES:
        cards = [*points[service], *[RANDOM] * world.random_kills]
        world.chance.shuffle(cards)
        if service in DOUBLED:
            chains += [Chain(service, cards[::2]), Chain(f"{service}.2", cards[1::2])]
        else:
            chains.append(Chain(service, [card for card in cards if not card.startswith("cleaner.")]))
    for name in ("router.2", "dispatcher.2"):
        world.fleet.spawn(name)
    with world.traffic():
        for chain in chains:
            world.fleet.kill(chain.name)
            _next(world, chain)
        saves = 0
        perform_at = time.monotonic()
        deadline = time.monotonic() + LONGEST
        while not all(chain.is_over() for chain in chains) and time.monotonic() < deadline:
            world.tend()
            if time.monotonic() >= perform_at:
                world.modality.perform()
                perform_at = time.monotonic() + PERFORMED
            for chain in chains:
                if not chain.is_over():
                    _watch(world, chain)
                if chain.step == "web.saved" and chain.ready_at is not None:
                    saves += 1
                    world.save_if_possible(saves)
        for chain in chains:
            if not chain.is_over():
                world.tally.unreached += [chain.step, *chain.steps]
                chain.steps.clear()
                world.fleet.kill(chain.name)
                _next(world, chain)
        world.fleet.await_ready([chain.name for chain in chains])
    world.all_run()
    if world.tally.unreached:
        log.warning("not reached: %s", ", ".join(world.tally.unreached))
    for name in ("router.2", "dispatcher.2"):
        if (code := world.fleet.terminate(name)) != 0:
            raise ValueError(f"{name} did not end as told, but with {code}")


def _next(world: World, chain: Chain) -> None:
    chain.step = chain.steps.pop() if chain.steps else ""
    chain.ready_at, chain.killed = None, False
    doubled = chain.name.partition(".")[0] in DOUBLED
    point = f"{chain.step}:{1 if doubled else world.chance.choice((1, 1, 2))}"
    world.fleet.spawn(chain.name, **({} if chain.step in ("", RANDOM) else {"HERMES_CRASH_POINT": point}))


def _watch(world: World, chain: Chain) -> None:
    """Look at a process that is to die: it has, or it is killed, or it cannot be brought to."""
    service = chain.name.partition(".")[0]
    if world.fleet.died(chain.name):
        if chain.step == RANDOM or not chain.killed:
            log.debug("%s died: %s", chain.name, chain.step)
            name = f"kill -9 of {service} {RANDOM}" if chain.step == RANDOM else f"kill -9 at {chain.step}"
            world.tally.add(name, time.time(), repeats=service in REPEATING)
        _next(world, chain)
    elif chain.ready_at is None:
        if world.fleet.is_ready(chain.name):
            chain.ready_at = time.monotonic()
            chain.kill_at = chain.ready_at + (world.chance.uniform(0.0, 1.0) if chain.step == RANDOM else REACHED)
    elif chain.step and time.monotonic() >= chain.kill_at:
        if chain.step in chain.put_off:
            world.tally.unreached.append(chain.step)
        elif chain.step != RANDOM:
            chain.put_off.add(chain.step)
            chain.steps.insert(0, chain.step)
        world.fleet.kill(chain.name)
        chain.killed = True


def servers(world: World, longest: float = 2.0) -> None:
    """NATS, S3 and PostgreSQL away, each and in pairs, killed and hanging, for up to ``longest`` seconds."""
    pairs = [(first, second) for at, first in enumerate(SERVER_NAMES) for second in SERVER_NAMES[at + 1 :]]
    combinations: list[tuple[str, ...]] = [*[(name,) for name in SERVER_NAMES], *pairs]
    world.chance.shuffle(combinations)
    with world.traffic():
        for names in combinations:
            since = time.time()
            for name in names:
                world.fleet.kill(name)
            world.tend(world.chance.uniform(0.3, longest))
            for name in names:
                world.fleet.spawn(name)
            world.fleet.await_ready(names)
            world.tally.add(f"{' and '.join(names)} killed", since, repeats=True)
            world.tend(0.5)
        for name in SERVER_NAMES:
            since = time.time()
            world.fleet.signal(name, signal.SIGSTOP)
            try:
                world.tend(world.chance.uniform(1.0, max(1.0, longest)))
            finally:
                world.fleet.signal(name, signal.SIGCONT)
            world.tally.add(f"{name} hanging", since, repeats=True)
            world.tend(0.5)
    world.all_run()


RESUMED: Final = 10.0
"""Seconds after the end of an outage within which work has to go on."""

PAIRS: Final = ("nats", "s3", "postgres", "nats+s3", "nats+postgres", "s3+postgres")


def outages(world: World) -> None:
    """Each outage that the plan names ("nats+s3:300"): receiving goes on through it, and work soon after it."""
    for outage in world.outages:
        names, _, seconds = outage.partition(":")
        _outage(world, names.split("+"), float(seconds))


def _outage(world: World, names: Sequence[str], seconds: float) -> None:
    with world.traffic(pause=0.4 if seconds < 60 else 2.0):
        world.tend(3.0)
        since = time.time()
        for name in names:
            world.fleet.kill(name)
        world.tend(seconds)
        received = sum(since < (each.acknowledged_at or 0) for each in world.books()[0])
        if seconds >= 10 and not received:
            raise ValueError(f"without {' and '.join(names)} nothing was acknowledged for {seconds:.0f} s")
        for name in names:
            world.fleet.spawn(name)
        world.fleet.await_ready(names)
        name = f"{' and '.join(names)} away for {seconds:.0f} s"
        world.tally.resumed[name] = _resumed(world, name)
        world.tally.add(name, since, repeats=True)
        world.tend(2.0)
    world.all_run()


def _resumed(world: World, name: str) -> float:
    """Return the seconds from now until a target confirms an instance and one more is in the tables."""
    began, wall = time.monotonic(), time.time()
    rows = world.collector.query("SELECT count(*) FROM ledger.instances")[0][0]
    while time.monotonic() - began < STUCK:
        world.tend()
        is_sent = any(each.at > wall and confirms(each.status) for each in world.books()[1])
        if is_sent and world.collector.query("SELECT count(*) FROM ledger.instances")[0][0] > rows:
            took = time.monotonic() - began
            log.info("%s: work went on after %.1f s", name, took)
            if took > RESUMED:
                raise ValueError(f"{name}: work went on only after {took:.1f} s")
            return took
    raise ValueError(f"{name}: work does not go on")


def targets(world: World, seconds: float = 6.0) -> None:
    """Every trick of a target, over and over, and every status there is."""
    with world.traffic(senders=1, pause=1.0):
        for _ in range(2):
            world.send_every_status()
            world.tend(seconds / 2)
    world.all_run()


def twins(world: World) -> None:
    """Two of each service, one of which is stopped in the middle of its work and goes on later: SIGSTOP, SIGCONT."""
    doubled = ("router", "dispatcher", "cleaner", "bookkeeper")
    for name in doubled:
        world.fleet.spawn(f"{name}.2")
    world.fleet.await_ready([f"{name}.2" for name in doubled])
    since = time.time()
    with world.traffic():
        world.tend(1.5)
        world.tally.add("two of each service", since, repeats=False)
        for _ in range(2):
            since = time.time()
            for name in (*doubled, "receiver"):
                world.fleet.signal(name, signal.SIGSTOP)
            try:
                world.tend(world.chance.uniform(3.5, 5.0))  # longer than a lease
            finally:
                for name in (*doubled, "receiver"):
                    world.fleet.signal(name, signal.SIGCONT)
            for name in (*doubled, "receiver"):
                world.tally.add(f"SIGSTOP of {name}", since, repeats=name in REPEATING)
            world.tend(1.0)
    world.all_run()
    for name in doubled:
        if (code := world.fleet.terminate(f"{name}.2")) != 0:
            raise ValueError(f"{name}.2 did not end as told, but with {code}")


CLOCKS: Final = (
    ("receiver", "-1h"), ("receiver", "+1d"), ("bookkeeper", "+1d"), ("bookkeeper", "-1h"), ("dispatcher", "-1h"),
    ("dispatcher", "+1d"), ("dispatcher", "-1d"), ("router", "-1h"),
)  # fmt: skip
"""Service, and how far its clock is wrong. A router whose clock is ahead makes others wait as long: what it decides is
not lost, but cannot be waited for here."""


def clocks(world: World) -> None:
    """Clocks that are wrong for a while, by libfaketime."""
    if not FAKETIME.exists():
        world.tally.skipped.append("clocks: libfaketime is not installed")
        return
    with world.traffic():
        for service, offset in world.chance.sample(CLOCKS, 2):
            since = time.time()
            world.fleet.restart(service, **fake_time(offset))
            world.tend(1.5)
            world.fleet.restart(service)
            world.tally.add(f"clock of {service} off by {offset}", since, repeats=True)
    world.all_run()


def fake_time(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is wrong; its monotonic clock stays right."""
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


def disk(world: World) -> None:
    """The volume of the spool is full, and has space again."""
    spool = world.fleet.site.spool
    if not spool.parent.is_mount():
        world.tally.skipped.append("disk: a volume of its own for the spool needs root")
        return
    filling = spool.parent / "filling"
    with world.traffic():
        for _ in range(2):
            since = time.time()
            refused = world.ledger.answers.get(0xA700, 0)
            with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
                while file.write(bytes(65536)):
                    pass
            deadline = time.monotonic() + 20
            while world.ledger.answers.get(0xA700, 0) == refused and time.monotonic() < deadline:
                world.tend()
            filling.unlink()
            if world.ledger.answers.get(0xA700, 0) == refused:
                raise ValueError(f"a full spool was not answered with A700H, but with {world.ledger.answers}")
            world.tally.add("volume of the spool full", since, repeats=False)
            world.tend(1.0)
    world.all_run()


REPLICATED: Final = (subjects.EVENTS, subjects.WORK, subjects.TIMERS, f"KV_{subjects.STATE}")
LEADERS: Final = 6


def cluster(world: World) -> None:
    """A NATS cluster loses the server that leads a stream, again and again."""
    with world.traffic():
        for _ in range(LEADERS):
            stream = world.chance.choice(REPLICATED)
            leader = asyncio.run(_leader(world.fleet.environment["HERMES_NATS_URL"], stream))
            since = time.time()
            world.fleet.kill(leader)
            world.tend(world.chance.uniform(1.0, 3.0))
            world.fleet.spawn(leader)
            world.fleet.await_ready([leader])
            world.tally.add("kill -9 of the leader of a stream in a NATS cluster", since, repeats=True)
    world.all_run()


async def _leader(url: str, stream: str) -> str:
    """Return the name of the server that leads a stream."""
    connection = await nats.connect(url.split(","), connect_timeout=5)
    try:
        for _ in range(100):
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error):
                found = (await connection.jetstream(timeout=2).stream_info(stream)).cluster
                if found is not None and found.leader:
                    return str(found.leader)
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
    raise ValueError(f"within 20 s nobody leads the stream {stream}")


NEEDS_ORPHANS = "cleaner.orphan"
"""A crash point of the sweep, which finds nothing here; services/cleaner/tests kills there."""


def cleaner(world: World) -> None:
    """Everything that is done may go now, and nothing else: the cleaner killed at work, and its clock ten years on."""
    shut = Route("shut", lambda _, __: {"shut": "delivered"})
    for _ in range(2):
        world.sender.send(world.sender.make(shut, 3))
    points = [*(point for point in crash_points(CHECKOUT)["cleaner"] if point != NEEDS_ORPHANS), *[RANDOM] * 3]
    chain = Chain("cleaner", points)
    world.keep_for("10s")
    with world.traffic(senders=1):
        world.fleet.kill("cleaner")
        _next(world, chain)
        while not chain.is_over():
            world.tend()
            _watch(world, chain)
        if FAKETIME.exists():
            since = time.time()
            world.fleet.restart("cleaner", **fake_time("+3650d"))
            world.tend(3.0)
            world.tally.add("clock of cleaner off by +3650d", since, repeats=False)
        world.fleet.restart("cleaner")
    world.all_run()
    deadline = time.monotonic() + 60
    while "deleted" not in {row[0] for row in world.collector.query("SELECT state FROM ledger.series")}:
        if time.monotonic() > deadline:
            raise ValueError("the cleaner deleted nothing of what is done")
        world.tend(0.5)
    world.keep_for("1h")  # nothing goes while the records are joined
    world.tend(3.0)
    world.open_shut()


def events(world: World) -> None:
    """Every event of the stream twice and shuffled into empty tables: they become the same tables."""
    since = time.time()
    found = differences(world.fleet, world.chance)
    if found:
        raise ValueError("the tables differ when the events come twice and shuffled:\n" + "\n".join(found))
    world.tally.add("every event twice and shuffled", since, repeats=False)


SCENARIOS: Final[dict[str, Callable[[World], None]]] = {
    "kills": kills,
    "servers": servers,
    "targets": targets,
    "twins": twins,
    "clocks": clocks,
    "disk": disk,
}
"""Those that leave the router as it was, in the order in which a pass does them."""

APART: Final[dict[str, Callable[[World], None]]] = {"cluster": cluster, "outages": outages}
"""Those that need a router or a time of their own; only when asked for by name."""

LAST: Final[dict[str, Callable[[World], None]]] = {"cleaner": cleaner, "events": events}
"""Those at the end of a run, after which little is left."""


@dataclass(slots=True)
class Volume:
    """A small volume for the spool, where we may mount one. To be entered around the whole run."""

    folder: Path
    mounted: bool = field(default=False)

    def __enter__(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        command: Sequence[str] = ("mount", "-t", "tmpfs", "-o", "size=24m", "hermes-chaos", str(self.folder))
        if os.geteuid() == 0:
            self.mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
        return self.folder / "spool"

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
