"""`hermes send`: files and folders over C-STORE (PS3.4 B)."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hermes_cli.connection import environment_of
from hermes_cli.errors import UsageError
from hermes_cli.options import Json
from hermes_cli.output import clean, console, note, print_json, say, size

if TYPE_CHECKING:
    from hermes_cli.sending.files import Instance, Skipped
    from hermes_cli.sending.sender import Peer, Summary

DEFAULT_PORT = 11112
DEFAULT_AET = "HERMES"
SHOWN = 20
_AE = re.compile(r"[ -\[\]-~]{1,16}")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+))(?::(\d{1,5}))?")

Paths = Annotated[list[Path], typer.Argument(help="DICOM files and folders; folders with everything below them.")]
To = Annotated[str | None, typer.Option("--to", help="HOST:PORT. Default: the router running here.")]
Called = Annotated[str | None, typer.Option("--aet", help="Called AE title. Default: that of the router, HERMES.")]
Calling = Annotated[str, typer.Option("--calling", help="Calling AE title.")]


def send(paths: Paths, to: To = None, aet: Called = None, calling: Calling = "HERMES_SEND", json: Json = False) -> None:
    """Send DICOM files and folders to a Storage SCP, bit by bit as they are."""
    from hermes_cli.sending.sender import Summary

    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    peer = peer_of(to, aet, calling, os.environ)
    summary = Summary()
    started = time.monotonic()
    _send_all(paths, peer, summary, quiet=json)
    seconds = time.monotonic() - started
    if json:
        print_json(_as_json(summary, peer, seconds))
    else:
        _report(summary, peer, seconds)
    raise typer.Exit(1 if summary.failed or summary.stopped or not summary.stored else 0)


def peer_of(to: str | None, aet: str | None, calling: str, given: "os._Environ[str] | dict[str, str]") -> "Peer":
    """Return where to send; raise :class:`UsageError` for an address or an AE title that cannot be one."""
    from hermes_cli.sending.sender import Peer

    local = environment_of(given) if to is None else {}
    text = to or f"{_reachable(local.get('HERMES_DICOM_HOST', ''))}:{local.get('HERMES_DICOM_PORT', DEFAULT_PORT)}"
    match = _ADDRESS.fullmatch(text)
    port = int(match[3]) if match is not None and match[3] else DEFAULT_PORT
    if match is None or not 0 < port < 65536:
        raise UsageError(
            f"{text!r} is no address: write HOST:PORT, such as --to 192.0.2.10:104 or --to [2001:db8::1]:104"
        )
    called = aet or local.get("HERMES_DICOM_AET") or DEFAULT_AET
    for title in (called, calling):
        if not _AE.fullmatch(title) or not title.strip():
            raise UsageError(f"{title!r} is no AE title: 1 to 16 characters of ASCII without backslash (PS3.5 6.2)")
    return Peer(match[1] or match[2], port, called, calling)


def _reachable(host: str) -> str:
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _send_all(paths: list[Path], peer: "Peer", summary: "Summary", *, quiet: bool) -> None:
    from hermes_cli.sending.files import Skipped, examine, walk
    from hermes_cli.sending.sender import Sender, StoppedError

    def examined() -> "Iterator[Instance | Skipped]":
        for found in walk(paths):
            yield found if isinstance(found, Skipped) else examine(found)

    try:
        with Sender(peer) as sender:
            for outcome in _with_progress(sender.send(examined()), paths, quiet=quiet):
                summary.add(outcome)
    except StoppedError as problem:
        summary.stopped = str(problem)


def _with_progress(outcomes: Iterable[Any], paths: list[Path], *, quiet: bool) -> Iterator[Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hermes_cli.sending.files import walk

    terminal = console(stderr=True)
    if quiet or not terminal.is_terminal:
        yield from outcomes
        return
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("sending", total=sum(1 for _ in walk(paths)))
        for outcome in outcomes:
            progress.advance(task)
            yield outcome


def _report(summary: "Summary", peer: "Peer", seconds: float) -> None:
    for skip in summary.skips[:SHOWN]:
        note(f"skipped  {clean(skip.path)}: {clean(skip.reason)}")
    _more(summary.skipped, "skipped")
    for failure in summary.failures[:SHOWN]:
        code = "" if failure.status is None else f"{failure.status:04X} "
        note(f"failed   {clean(failure.path)}: {code}{clean(failure.reason)}")
    _more(summary.failed, "failed")
    for words, count in sorted(summary.statuses.items()):
        say(f"{count:>8}  {clean(words)}")
    if summary.stopped:
        note(f"hermes: stopped: {clean(summary.stopped)}")
    rate = f", {size(summary.octets / seconds)}/s" if summary.octets and seconds > 0 else ""
    say(
        f"{peer}: {summary.stored} stored ({size(summary.octets)} in {seconds:.1f} s{rate}), {summary.failed} failed, "
        f"{summary.skipped} skipped"
    )
    if not summary.stored and not summary.failed and not summary.stopped:
        note("hermes: there was nothing to send")


def _more(count: int, word: str) -> None:
    if count > SHOWN:
        note(f"{word}   ... and {count - SHOWN} more (--json names up to 1000)")


def _as_json(summary: "Summary", peer: "Peer", seconds: float) -> dict[str, Any]:
    failures = [{"path": str(f.path), "status": f.status, "reason": f.reason} for f in summary.failures]
    return {
        "peer": {"host": peer.host, "port": peer.port, "called_aet": peer.called_aet, "calling_aet": peer.calling_aet},
        "stored": summary.stored,
        "octets": summary.octets,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "seconds": round(seconds, 3),
        "statuses": dict(summary.statuses),
        "failures": failures,
        "skips": [{"path": str(skip.path), "reason": skip.reason} for skip in summary.skips],
        "stopped": summary.stopped,
    }
