"""Results as a table for people and as JSON for programs, with the machine described in general words."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

Row = Mapping[str, Any]


def machine() -> dict[str, str]:
    """What the figures depend on, without anything that names the machine."""
    version = subprocess.run(["/usr/bin/storescp", "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "cores": str(os.cpu_count()),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "dcmtk": version.split()[2] if len(version.split()) > 2 else "not installed",
    }


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def write(name: str, title: str, rows: Sequence[Row], samples: Sequence[Row] = ()) -> None:
    """Write ``results/<name>.md`` and ``.json``, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    about = machine()
    text = table(rows)
    print(text)
    words = ", ".join(f"{key} {value}" for key, value in about.items())
    (RESULTS / f"{name}.md").write_text(f"# {title}\n\nMachine: {words}, shared with others.\n\n{text}\n")
    document = {"title": title, "machine": about, "rows": list(rows), "samples": list(samples)}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    return str(value)
