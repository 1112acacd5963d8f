"""Checks of this machine: Python, versions, the home, its processes, the disk."""

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from hermes_cli.doctor.finding import Finding, fail, ok, warn
from hermes_cli.doctor.site import Site
from hermes_cli.output import size

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE = (0.10, 10e9)
"""Below this share or these bytes: a warning."""
NO_SPACE = (0.02, 1e9)
SHOWN = ("pydicom", "pynetdicom", "nats-py", "httpx")


def check_python(_: Site) -> list[Finding]:
    """The interpreter."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return [fail("python", text, "Hermes needs Python 3.11 or later: set HERMES_PYTHON to one and start ./hermes.")]
    return [ok("python", text)]


def check_versions(_: Site) -> list[Finding]:
    """Our packages must be of one release."""
    ours = {str(d.name): str(d.version) for d in distributions() if str(d.name or "").startswith("hermes-")}
    others = ", ".join(f"{name} {_version(name)}" for name in SHOWN)
    if len(set(ours.values())) > 1:
        text = ", ".join(f"{name} {number}" for name, number in sorted(ours.items()))
        return [fail("versions", text, "The packages are of different releases: install all of them in one version.")]
    return [ok("versions", f"hermes {next(iter(ours.values()), 'unknown')} ({len(ours)} packages); {others}")]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def check_home(site: Site) -> list[Finding]:
    """The all-in-one, if it runs here."""
    if not site.run:
        if any(site.has(name) for name in ("HERMES_URL", "HERMES_NATS_URL")):
            return [ok("home", f"nothing runs in {site.home}; the environment names the servers")]
        text = f"nothing runs in {site.home}"
        return [warn("home", text, "`hermes up` starts the router here; HERMES_HOME names another home.")]
    findings = [ok("home", f"{site.home}: started {site.run.get('started', '?')}")]
    processes = site.run.get("processes")
    for name, entry in (processes if isinstance(processes, dict) else {}).items():
        findings += _process(name, entry)
    return findings


def _process(name: str, entry: dict[str, Any]) -> list[Finding]:
    if not entry.get("ready"):
        text = f"{name} is {entry.get('state')}: {entry.get('reason', '')}"
        return [fail("processes", text, f"Its log says why: {entry.get('log')}")]
    if entry.get("restarts"):
        text = f"{name} was started again {entry['restarts']} times"
        return [warn("processes", text, f"Its log says why: {entry.get('log')}")]
    return []


def check_disk(site: Site) -> list[Finding]:
    """Room for images where the home is, or would be."""
    existing = next(path for path in (site.home, *site.home.resolve().parents) if path.exists())
    return [judge_disk(existing, *_usage(existing))]


def _usage(path: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(path)
    return usage.total, usage.free


def judge_disk(path: Path, total: int, free: int) -> Finding:
    """Return what to say about ``free`` of ``total`` bytes."""
    text = f"{size(free)} of {size(total)} free ({free / max(total, 1):.0%}) at {path}"
    advice = "Make room, shorten the retention, or move the home to a larger disk; a full disk refuses new images."
    if free < NO_SPACE[1] or free < total * NO_SPACE[0]:
        return fail("disk", text, advice)
    if free < LITTLE_SPACE[1] or free < total * LITTLE_SPACE[0]:
        return warn("disk", text, advice)
    return ok("disk", text)
