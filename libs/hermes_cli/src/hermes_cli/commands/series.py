"""`hermes series`: what was received, and what became of it."""

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hermes_cli.api import segment
from hermes_cli.errors import CliError
from hermes_cli.options import Json, Limit, Reason, Token, Url, api
from hermes_cli.output import age, clean, narrow, note, print_json, print_pairs, print_table, say, size, when

app = typer.Typer(no_args_is_help=True, help="Series that were received, and what became of them.")

Uid = Annotated[str, typer.Argument(metavar="UID", help="Series Instance UID.")]
Query = Annotated[str, typer.Option("-q", "--query", help="As in the search field: 'modality:MR status:failed brain'.")]
To = Annotated[list[str], typer.Option("--to", help="Short name of a target; may be given several times.")]
Columns = Annotated[
    str,
    typer.Option(
        "--columns", help="Names with commas between them, attributes too: 'series_uid,modality,SliceThickness'."
    ),
]
Into = Annotated[Path | None, typer.Option("-o", "--output", help="File to write. Default: standard output.")]
Masked = Annotated[bool, typer.Option("--masked", help="Without what says who the patient or another person is.")]


class FileFormat(StrEnum):
    """The formats of an export."""

    CSV = "csv"
    PARQUET = "parquet"


@app.command("ls")
def list_series(query: Query = "", limit: Limit = 50, json: Json = False, url: Url = None, token: Token = None) -> None:
    """List series, the newest first."""
    with api(url, token) as router:
        items, more = router.pages("/series", limit, q=query)
    if json:
        print_json({"items": items, "more": more})
        return
    now = datetime.now(UTC)
    wide = not narrow()
    headings = ["received", "state", "modality", "instances", *(["from", "description"] if wide else []), "series"]
    print_table(headings, (_row(item, now, wide=wide) for item in items), right=["instances"])
    if more:
        note(f"there are more; -n {limit * 10} shows more of them, -q narrows it down")


def _row(item: dict[str, Any], now: datetime, *, wide: bool) -> list[object]:
    extra = [item.get("calling_aet"), item.get("series_description")] if wide else []
    head = [age(item.get("last_received_at"), now), item.get("state"), item.get("modality"), item.get("instances")]
    return [*head, *extra, item.get("series_uid")]


@app.command("show")
def show(uid: Uid, json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show one series: what it is, how it was decided, and each delivery."""
    with api(url, token) as router:
        detail = router.get(f"/series/{segment(uid)}")
    if json:
        print_json(detail)
        return
    print_pairs(_pairs(detail))
    for problem in detail.get("problems") or []:
        say(clean(f"problem: {problem}"))
    _print_decisions(detail.get("decisions") or [])
    _print_deliveries(detail.get("deliveries") or [])


def _pairs(series: dict[str, Any]) -> list[tuple[str, object]]:
    names = ("series_uid", "study_uid", "state", "modality", "study_description", "series_description", "patient_id")
    pairs: list[tuple[str, object]] = [(name.replace("_", " "), series.get(name)) for name in names]
    sender = " ".join(str(series.get(name) or "") for name in ("calling_aet", "address")).strip()
    pairs += [("from", sender), ("instances", series.get("instances")), ("size", size(series.get("octets")))]
    for name in ("first_received_at", "last_received_at", "completed_at", "ended_at", "deleted_at"):
        pairs.append((name.removesuffix("_at").replace("_", " "), when(series.get(name))))
    return pairs


def _print_decisions(decisions: list[dict[str, Any]]) -> None:
    for decision in decisions:
        rules = [rule for rule in decision.get("rules") or [] if rule.get("status") not in ("not_matched", "off")]
        said = ", ".join(f"{rule.get('slug')} {rule.get('status')}" for rule in rules) or "no rule"
        who = decision.get("actor") or said
        say(f"\ndecision: {decision.get('outcome')} by {who} (revision {decision.get('revision')})")
        for problem in decision.get("problems") or []:
            say(clean(f"  problem: {problem}"))


def _print_deliveries(deliveries: list[dict[str, Any]]) -> None:
    if deliveries:
        headings = ["target", "state", "delivered", "attempts", "delivery", "reason"]
        rows = [
            [
                row.get("target"),
                row.get("state"),
                f"{row.get('delivered', '?')}/{row.get('instances', '?')}",
                row.get("attempt"),
                row.get("delivery_id"),
                row.get("reason"),
            ]
            for row in deliveries
        ]
        print_table(headings, rows, right=["attempts", "delivered"])


@app.command("export")
def export(
    query: Query = "",
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the file.")] = FileFormat.CSV,
    columns: Columns = "",
    output: Into = None,
    masked: Masked = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Write series as a file, CSV or Parquet: what is known of them, and the attributes of their images."""
    with api(url, token) as router:
        asked = {"q": query, "format": file_format.value, "columns": columns, "masked": "true" if masked else ""}
        parts = router.content("/series/export", **asked)
        if output is None:
            for part in parts:
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        else:
            note(f"{size(_save(output, parts))} in {output}")


def _save(output: Path, parts: Iterable[bytes]) -> int:
    """Write a file that is there whole or not at all; return how long it is."""
    draft = output.with_name(f"{output.name}.part")
    try:
        with draft.open("wb") as file:
            written = sum(file.write(part) for part in parts)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    except OSError as error:
        raise CliError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return written


@app.command("route")
def route(uid: Uid, to: To, reason: Reason = "", json: Json = False, url: Url = None, token: Token = None) -> None:
    """Send a series to targets, whatever the rules said."""
    with api(url, token) as router:
        answer = router.post(f"/series/{segment(uid)}/route", {"targets": to, "reason": reason})
    if json:
        print_json(answer)
    else:
        say(f"asked for: {uid} to {', '.join(to)}; `hermes series show {uid}` shows what becomes of it")
