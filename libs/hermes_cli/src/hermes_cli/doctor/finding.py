"""What a check finds, and the running of checks: side by side, each with a time limit."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hermes_cli.doctor.site import Site
from hermes_cli.output import clean

LIMIT = 20.0
"""Seconds after which a check is given up."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, what to do about it, how long the answer took."""

    check: str
    level: Level
    text: str
    advice: str = ""
    seconds: float | None = None

    def as_object(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "check": self.check,
            "level": self.level.value,
            "text": self.text,
            "advice": self.advice,
            "seconds": None if self.seconds is None else round(self.seconds, 4),
        }


Check = Callable[[Site], list[Finding]]


def ok(check: str, text: str, seconds: float | None = None) -> Finding:
    """Return a finding that is fine."""
    return Finding(check, Level.OK, text, seconds=seconds)


def warn(check: str, text: str, advice: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(check, Level.WARN, clean(text), advice)


def fail(check: str, text: str, advice: str) -> Finding:
    """Return a finding with which the router cannot do its work."""
    return Finding(check, Level.FAIL, clean(text), advice)


def since(started: float) -> float:
    """Return the seconds since a moment of the monotonic clock."""
    return time.monotonic() - started


def examine(checks: Sequence[tuple[str, Check]], site: Site, limit: float = LIMIT) -> list[Finding]:
    """Run the checks side by side and return their findings in the order of the checks."""
    results: dict[str, list[Finding]] = {}

    def run(name: str, check: Check) -> None:
        try:
            results[name] = check(site)
        except Exception as problem:  # noqa: BLE001 - one check that breaks must not hide what the others found
            results[name] = [
                fail(name, f"the check itself failed: {problem!r}", "Report this with the output of --json.")
            ]

    threads = [threading.Thread(target=run, args=pair, name=pair[0], daemon=True) for pair in checks]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    advice = "It hangs: look at its log, and at the network in between."
    return [
        finding
        for name, _ in checks
        for finding in results.get(name, [fail(name, f"no answer within {limit:.0f} s", advice)])
    ]
