"""`hermes test`: the checks that need no server first, then the tests. With arguments only pytest, which gets them."""

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

_WHOLE: Final = (
    *("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder"),
    *("--reruns", "1", "--rerun-show-tracebacks", "--rerun-except", "LedgerViolation"),
)
"""The whole suite runs in two processes, a file in one of them: its tests wait for real servers more than they compute.
The longest file comes first (``conftest.py``), so that neither waits for the other at the end.
A test that fails is run once more, and both runs are shown: a machine may be slow for a moment. A record that
contradicts another (`LedgerViolation`) is never put down to that.
"""


def run_tests(arguments: Sequence[str], *, root: Path | None = None) -> int:
    """Runs everything in the checkout and returns the first exit code that is not 0 (pytest runs in any case), else
    0.
    """
    checkout = root or find_root()
    console = Console(stderr=True, highlight=False)
    if checkout is None:
        console.print("hermes: there is no checkout here to test. Run ./hermes test in one.")
        return 2
    steps = [] if arguments else checks(checkout)
    failed = [code for step in steps if (code := _run(console, step, checkout)) != 0]
    code = _run(console, [_tool("pytest"), *(arguments or _WHOLE)], checkout)
    return code or next(iter(failed), 0)


def checks(root: Path) -> list[list[str]]:
    """The commands before pytest: lint, types, the direction of imports."""
    cores = sorted(str(path.relative_to(root)) for path in root.glob("*/*/src/*/core") if any(path.glob("*.py")))
    typed = ["libs/hermes_common/src", *cores]
    steps = [[_tool("ruff"), "check", "."], [_tool("mypy"), *typed]]
    if (root / ".importlinter").exists() or "[tool.importlinter" in (root / "pyproject.toml").read_text(
        encoding="utf-8"
    ):
        steps.append([_tool("lint-imports")])
    return steps


def find_root() -> Path | None:
    """The checkout: what the script `hermes` says, else where this file lies in one, else the present folder."""
    said = os.environ.get("HERMES_ROOT")
    candidates = [Path(said)] if said else []
    candidates += [*Path(__file__).resolve().parents[4:5], Path.cwd()]
    return next(
        (path for path in candidates if (path / "requirements.lock").exists() and (path / "libs").is_dir()), None
    )


def _tool(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _run(console: Console, command: list[str], root: Path) -> int:
    name = Path(command[0]).name
    console.print(Text(f"== {name} {' '.join(command[1:])}".rstrip(), "bold"), soft_wrap=True)
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in {"HERMES_HOME", "HERMES_ROOT"}}
    environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), environment.get("PATH", os.defpath)])
    sys.stdout.flush()
    code = subprocess.run(command, check=False, cwd=root, env=environment).returncode  # noqa: S603 - our own tools
    if name != "pytest":
        outcome = "ok" if code == 0 else f"failed (exit code {code})"
        console.print(f"== {name}: {outcome}, {time.monotonic() - started:.1f} s")
    return code
