"""The demo itself: start a Storage SCP, configure, send, wait, tell."""

import asyncio
import os
import shutil
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermes_cli.api import Api
from hermes_cli.connection import Connection
from hermes_cli.errors import ApiError, CliError
from hermes_cli.sending.files import examine
from hermes_cli.sending.sender import Peer, Sender, StoppedError, Summary
from hermes_local.demo import configuration, story, study
from hermes_local.errors import LocalError
from hermes_local.process import Program
from hermes_local.services import reachable
from hermes_local.supervisor import Unit

if TYPE_CHECKING:
    from hermes_local.up import Running

HOST = "127.0.0.1"
READY_WITHIN = timedelta(seconds=15)
WAIT = timedelta(seconds=60)
POLL = 0.5


async def run_demo(running: "Running") -> None:
    """Run the demo once and say what became of each series; the router runs on, also when the demo fails."""
    try:
        await _run(running)
    except (CliError, LocalError, StoppedError, OSError) as problem:
        _say(running, f"The demo stopped: {problem}")
        _say(running, "The router runs on; `hermes doctor` says what is missing.")


async def _run(running: "Running") -> None:
    place = running.home.path / "demo"
    with Api(Connection(running.site.web_address, running.site.admin_token)) as api:
        _say(running, "")
        _say(running, "Demo: three targets, three rules, and a few series sent in over DICOM")
        port = await asyncio.to_thread(_port_for, api, configuration.ARCHIVE)
        await _start_archive(running, port, place / "received")
        for line in await asyncio.to_thread(_configure, api, port, place / "folder"):
            _say(running, f"  {line}")
        sent = await asyncio.to_thread(_send_all, running, place / "sent")
        count = sum(len(series.files) for series in sent)
        _say(
            running,
            f"  sent {len(sent)} series ({count} instances) to {running.site.dicom_address}; waiting for them ...",
        )
        details, down = await _wait(api, sent)
        for series in sent:
            _say(running, "")
            for line in story.lines(series, details.get(series.series_uid), running.site.web_address, down):
                _say(running, line)
    waiting = [s for s in sent if not story.is_over(details.get(s.series_uid), len(s.files), down)]
    _say(running, "")
    if waiting:
        names = ", ".join(series.recipe.name for series in waiting)
        _say(running, f"Not over after {WAIT.total_seconds():.0f} s: {names}. Their pages show what becomes of them.")
    _say(
        running,
        f"What the demo archive got is in {place / 'received'}, what went into the folder in {place / 'folder'}.",
    )


def _say(running: "Running", text: str) -> None:
    running.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _port_for(api: Api, slug: str) -> int:
    """Return the port that the target has from an earlier demo if it is free, else any free one."""
    known = configuration.known_port(api, slug)
    return known if known is not None and _is_free(known) else _free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def _start_archive(running: "Running", port: int, folder: Path) -> None:
    program = archive_program(port, folder, running.home.log(configuration.ARCHIVE))
    late = await running.supervisor.start([Unit(configuration.ARCHIVE, lambda: program)], within=READY_WITHIN)
    if late:
        raise LocalError(f"the demo archive does not start; its log: {program.log}")


def archive_program(port: int, folder: Path, log: Path) -> Program:
    """Return the Storage SCP as a program to be supervised."""
    argv = ("--port", str(port), "--aet", configuration.ARCHIVE_AET, "--folder", str(folder))
    return Program(
        name=configuration.ARCHIVE,
        argv=(sys.executable, "-m", "hermes_local.demo.scp", *argv),
        log=log,
        ready=lambda: _listens(port),
        environment={"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"},
        cwd=Path(os.sep),
        ready_within=READY_WITHIN,
        stop_within=timedelta(seconds=5),
    )


def _listens(port: int) -> str | None:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError as problem:
        return f"nothing listens on port {port} yet ({problem.strerror})"
    return None


def _configure(api: Api, archive_port: int, folder: Path) -> list[str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    down_port = _port_for(api, configuration.DOWN)
    return [
        configuration.put_quiet_period(api),
        configuration.put_targets(api, configuration.targets(archive_port, down_port, folder)),
        configuration.put_rules(api),
    ]


def _send_all(running: "Running", folder: Path) -> list[study.Series]:
    """Make the series and send them, each as its own scanner; raise :class:`StoppedError` if one is not taken."""
    shutil.rmtree(folder, ignore_errors=True)
    sent = []
    for series in study.make_all(folder, datetime.now(UTC)):
        site = running.site
        peer = Peer(reachable(site.dicom_host), site.dicom_port, site.dicom_aet, series.recipe.calling_aet)
        summary = Summary()
        with Sender(peer) as sender:
            for outcome in sender.send(examine(path) for path in series.files):
                summary.add(outcome)
        if summary.failed or summary.skipped:
            why = next((failure.reason for failure in summary.failures), "a file of the demo cannot be read")
            raise StoppedError(f"the receiver did not take the series {series.recipe.name}: {why}")
        sent.append(series)
    return sent


async def _wait(api: Api, sent: list[study.Series]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Return what the history says about each series, and the targets that are down, when all are over or the time is.

    A delivery to a target that is down waits for it, for as long as that takes: the demo does not.
    """
    down: set[str] = set()
    details: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + WAIT.total_seconds()
    open_ones = list(sent)
    while open_ones and time.monotonic() < deadline:
        await asyncio.sleep(POLL)
        for series in open_ones:
            detail = await asyncio.to_thread(_look_up, api, series.series_uid)
            if detail is not None:
                details[series.series_uid] = detail
        down = await asyncio.to_thread(_down, api)
        open_ones = [s for s in open_ones if not story.is_over(details.get(s.series_uid), len(s.files), down)]
    return details, down


def _down(api: Api) -> set[str]:
    """Return the targets that are down: deliveries to them wait for as long as it takes."""
    return {item["target"] for item in api.get("/targets/states")["items"] if item["state"] == "down"}


def _look_up(api: Api, series_uid: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = api.get(f"/series/{series_uid}")
    except ApiError as problem:
        if problem.status in (404, 503):
            return None
        raise
    return answer
