"""`hermes doctor`: is everything there that the router needs, and what to do where it is not."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hermes_cli.options import Json
from hermes_cli.output import print_json, print_table, say

Home = Annotated[Path | None, typer.Option("--home", help="Home of the all-in-one. Default: HERMES_HOME, else ./var.")]


def doctor(home: Home = None, json: Json = False) -> None:
    """Check servers, ports, disk, clock and versions, and say what to do; exit code 1 when something fails.

    Warnings alone leave the exit code 0; that nothing runs here is a warning too. `hermes status` is the command whose
    exit code says whether the router is fine.
    """
    from hermes_cli.doctor import CHECKS
    from hermes_cli.doctor.finding import Level, examine
    from hermes_cli.doctor.site import Site

    given = dict(os.environ) if home is None else {**os.environ, "HERMES_HOME": str(home)}
    findings = examine(CHECKS, Site.of(given))
    failed = sum(finding.level is Level.FAIL for finding in findings)
    warned = sum(finding.level is Level.WARN for finding in findings)
    if json:
        print_json({"ok": not failed, "checks": [finding.as_object() for finding in findings]})
        raise typer.Exit(1 if failed else 0)
    rows = [
        [f.level.value, f.check, f.text, "" if f.seconds is None else f"{f.seconds * 1000:.0f} ms"] for f in findings
    ]
    print_table(["", "check", "found", "time"], rows, right=["time"])
    for finding in findings:
        if finding.advice:
            say(f"{finding.check}: {finding.advice}")
    say(f"{failed} failed, {warned} warnings" if failed or warned else "all fine")
    raise typer.Exit(1 if failed else 0)
