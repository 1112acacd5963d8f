"""`hermes cleaner`: what would be deleted, when and why; looking through the object store; trying a retention."""

from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer

from hermes_cli.errors import CliError, UsageError
from hermes_cli.options import Json, Token, Url, api
from hermes_cli.output import clean, print_json, print_pairs, print_table, say, size, when

app = typer.Typer(no_args_is_help=True, help="The cleaner: what would be deleted, when and why.")

Limit = Annotated[int, typer.Option("--limit", "-n", min=0, max=1000, help="How many series to list.")]


@app.command("plan")
def plan(limit: Limit = 20, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Say what would be deleted, when and why. Nothing is changed."""
    with api(url, token) as router:
        found = router.get("/storage/plan", limit=limit)
    if json:
        print_json(found)
        return
    watermark, sweep = found.get("watermark") or {}, found.get("sweep") or {}
    pressure = watermark.get("pressure") or {}
    print_pairs(
        [
            ("live series", f"{found['series']} ({size(found['octets'])})"),
            ("retention passed", _series(found["due"], found["due_octets"])),
            ("limit", found.get("watermark_words") or "none"),
            ("too full", pressure.get("reason")),
            ("would go early", _series(found["early"], found["early_octets"]) if found["early"] else ""),
            ("records that cannot be read", found.get("unreadable") or ""),
        ]
    )
    if found["soonest"]:
        rows = [
            [each["series_uid"], "early" if each["early"] else when(each["at"]), size(each["octets"]), each["why"]]
            for each in found["soonest"]
        ]
        print_table(["series", "when", "size", "why"], rows, right=["size"])
    if found["kept"]:
        kept = [[each["reason"], each["series"], size(each["octets"])] for each in found["kept"]]
        print_table(["kept, whatever the clock says", "series", "size"], kept, right=["series", "size"])
    _print_sweep(sweep, found)


def _series(number: int, octets: int) -> str:
    return f"{number} ({size(octets)})" if number else "0"


def _print_sweep(sweep: dict[str, Any], found: dict[str, Any]) -> None:
    if not sweep:
        say("the store has not been looked through yet; `hermes cleaner sweep` does")
        return
    say(
        f"looked through {when(sweep.get('ended_at'))}: {sweep['objects']} objects, {sweep['orphans']} orphans "
        f"({size(sweep['orphan_octets'])}), {sweep['missing']} missing, {sweep['removed']} removed"
    )
    for key in found.get("missing") or []:
        say(clean(f"missing: {key}"))
    if found.get("orphans"):
        rows = [
            [each["key"], each["why"], when(each["first_seen"]), when(each["removed_from"])]
            for each in found["orphans"]
        ]
        print_table(["object", "why", "first seen", "removed from"], rows)
        if not found.get("orphans_removed"):
            say("orphans are only reported: orphans.remove is not set in the policies")


@app.command("sweep")
def sweep(
    remove: Annotated[bool, typer.Option("--remove", help="Orphans whose grace has passed go.")] = False,
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Look through the object store for objects without records and records without objects."""
    with api(url, token) as router:
        answer = router.post("/storage/sweep", {"remove": remove})
    if json:
        print_json(answer)
    elif answer.get("state") == "under_way":
        say(f"{answer.get('cleaner')} is at it already; `hermes cleaner plan` shows what it finds")
    else:
        say(f"{answer.get('cleaner')} has begun; `hermes cleaner plan` shows what it finds")


@app.command("preview")
def preview(
    file: Annotated[Path, typer.Argument(help="Policies as JSON, as `GET /api/v1/policies` has them.")],
    json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Say what other policies would delete at once. Nothing is changed; ends with 1 if something would be."""
    document = _read(file)
    with api(url, token) as router:
        found = router.post("/policies/preview", document)
    if json:
        print_json(found)
    else:
        say(clean(found["words"]))
    if found["series"]:
        raise typer.Exit(1)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise CliError(f"{file} is not JSON: {problem}") from problem
    if not isinstance(document, dict):
        raise CliError(f"{file} holds no policies: it is a JSON object; `GET /api/v1/policies` shows one")
    return document
