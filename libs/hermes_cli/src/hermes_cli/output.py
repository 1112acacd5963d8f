"""What the person at the terminal sees: tables, sizes, times; and JSON for programs.

Text that came over DICOM or the network is cleaned before it is shown: it must not steer the terminal.
"""

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {
    "ok": "green",
    "ready": "green",
    "up": "green",
    "started": "green",
    "succeeded": "green",
    "delivered": "green",
    "warn": "yellow",
    "retrying": "yellow",
    "sending": "cyan",
    "queued": "cyan",
    "receiving": "cyan",
    "unmatched": "yellow",
    "partly_failed": "red",
    "fail": "bold red",
    "failed": "bold red",
    "down": "bold red",
    "crashed": "bold red",
}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_NO_TERMINAL_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """Return a console that adds no colours of its own, and does not squeeze tables when no terminal reads them."""
    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else int(columns) if columns.isdigit() else _NO_TERMINAL_WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, width=width)


def narrow() -> bool:
    """Whether the terminal is too narrow for every column."""
    return shutil.get_terminal_size((_NO_TERMINAL_WIDTH, 24)).columns < 100


def clean(value: object) -> str:
    """Return text in which nothing steers a terminal: control and direction-changing characters become U+FFFD."""
    text = "" if value is None else str(value)
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(mark) in ("Cc", "Cf") else mark for mark in text)


def say(text: str) -> None:
    """Print one line for a person."""
    typer.echo(text)


def note(text: str) -> None:
    """Print one line beside the result, on standard error."""
    typer.echo(text, err=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value for a program; without indent on one line."""
    typer.echo(json.dumps(value, indent=indent, default=str))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print a table; words for states are coloured, long cells are folded."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console().print(table)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values below each other; what is empty is left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            table.add_row(name, _cell(value))
    console().print(table)


def _cell(value: object) -> Text:
    text = clean(value)
    return Text(text, STYLES.get(text, ""))


def size(octets: object) -> str:
    """Return a number of bytes in words, such as ``1.4 MB``."""
    if not isinstance(octets, int | float):
        return ""
    amount = float(octets)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return ""


def when(value: object) -> str:
    """Return an instant of the API (ISO 8601) in local time, to the second; other text as it is."""
    instant = instant_of(value)
    return clean(value) if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def instant_of(value: object) -> datetime | None:
    """Return the instant that a text of the API stands for, or None."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def age(value: object, now: datetime) -> str:
    """Return how long ago an instant of the API was, such as ``3 min``."""
    instant = instant_of(value)
    return "" if instant is None else span(now - instant)


def span(value: timedelta) -> str:
    """Return a span of time in its two largest units at most."""
    seconds = max(int(value.total_seconds()), 0)
    for unit, length, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= length:
            rest = seconds % length // part
            return f"{seconds // length} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{seconds} s"
