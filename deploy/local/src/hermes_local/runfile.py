"""`run.json` in the home: what runs where, for the command line, for tests, and for the next start.

    {"version": 1, "home": "...", "ready": true, "pid": 1, "created": 1.0, "started": "2026-01-31T12:00:00+00:00",
     "addresses": {"web": "http://127.0.0.1:8080", "dicom": "HERMES@127.0.0.1:11112", "nats": "127.0.0.1:4222", ...},
     "ports": {"dicom": 11112, "web": 8080, "nats": 4222, ...},
     "processes": {"receiver": {"pid": 2, "created": 1.0, "state": "ready", "restarts": 0, "log": "...", "stop_signal":
     15}, ...}, "environment": {"HERMES_NATS_URL": "...", ...}}

`environment` is what a program on this machine needs to reach everything; it holds secrets, so the file is its owner's
only.
`pid` and `created` (seconds of the epoch) together name a process; a number alone may have been given to another since.
"""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs in the lock

from hermes_local.process import created
from hermes_local.secrets import write_private

VERSION = 1
SAME = 2.0  # the creation time is computed from the boot time, which moves with the clock


def read(path: Path) -> dict[str, Any] | None:
    """The document, or None when there is none (nothing runs) or it is not whole."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("version") == VERSION else None


def write(path: Path, document: dict[str, Any]) -> None:
    """Replaces the document as a whole."""
    write_private(path, json.dumps({"version": VERSION, **document}, indent=2) + "\n")


def is_running(process: dict[str, Any]) -> bool:
    """Whether the very process that this entry names (`pid`, `created`) still runs."""
    pid = int(process["pid"])
    then = created(pid)
    return (
        then > 0
        and abs(then - float(process["created"])) < SAME
        and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    )


def end_leftovers(path: Path, *, within: float = 15.0) -> list[str]:
    """Ends what a killed launcher of this home left behind; returns the names of what had to be ended.

    Each gets its stop signal and `within` seconds in all; what is still there then is killed.
    """
    document = read(path) or {}
    left = {name: entry for name, entry in document.get("processes", {}).items() if _runs(entry)}
    for entry in left.values():
        with suppress(ProcessLookupError):
            os.kill(int(entry["pid"]), int(entry["stop_signal"]))
    deadline = time.monotonic() + within
    while any(_runs(entry) for entry in left.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for entry in left.values():
        if _runs(entry):
            with suppress(ProcessLookupError):
                os.killpg(int(entry["pid"]), signal.SIGKILL)
    return sorted(left)


def _runs(entry: dict[str, Any]) -> bool:
    try:
        return is_running(entry)
    except psutil.NoSuchProcess:
        return False
