"""`hermes up`: the whole router on this machine."""

import asyncio
import datetime as dt
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from hermes_cli.connection import home_of
from hermes_local import runfile, secrets
from hermes_local.build import (
    Listening,
    Servers,
    addresses,
    build_servers,
    build_site,
    server_units,
    service_units,
)
from hermes_local.crashes import CrashReporter
from hermes_local.errors import LocalError
from hermes_local.home import Home, held, remember_store
from hermes_local.ports import Ports
from hermes_local.process import created
from hermes_local.report import SignIn, print_addresses, print_table
from hermes_local.services import Site, operator_environment
from hermes_local.supervisor import Listener, State, Supervisor, Unit

SERVERS_WITHIN = timedelta(seconds=120)
SERVICES_WITHIN = timedelta(seconds=60)
DEMO = "hermes_local.demo"


@dataclass(frozen=True, slots=True)
class Running:
    """What a demo, or anything else that wants to work with the running router, is handed."""

    home: Home
    site: Site
    supervisor: Supervisor
    console: Console

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a program reaches the bus, the store, the database and the API; they hold
        secrets.
        """
        return operator_environment(self.site)


def run_up(
    *, home: Path | None, demo: bool, given: Mapping[str, str] = os.environ, console: Console | None = None
) -> int:
    """Runs until SIGINT or SIGTERM; returns the exit code: 0 after a clean stop, 1 when it could not start."""
    out = console or Console(highlight=False)
    try:
        if demo and find_spec(DEMO) is None:
            raise LocalError("This installation has no demo. Start `hermes up` without --demo.")
        with held(home or home_of(given)) as held_home:
            return asyncio.run(Launcher(held_home, dict(given), out).run(demo=demo))
    except LocalError as problem:
        Console(stderr=True, highlight=False).print(f"hermes: {problem}", markup=False, soft_wrap=True)
        return 1


class Launcher:
    """One run of the all-in-one."""

    def __init__(self, home: Home, given: dict[str, str], console: Console) -> None:
        self.home = home
        self._crashes = CrashReporter()
        self._reporting: asyncio.Task[None] | None = None
        self._given = given
        self._console = console
        self._started = dt.datetime.now(dt.UTC)
        self._ready = False
        self._site: Site | None = None
        self._addresses: dict[str, str] = {}
        self._ports: dict[str, int] = {}
        self._supervisor: Supervisor | None = None

    async def run(self, *, demo: bool) -> int:
        """Starts everything, waits for a signal, stops everything."""
        for name in await asyncio.to_thread(runfile.end_leftovers, self.home.run_file):
            self._say(f"ended {name}, which a killed launcher had left behind")
        stop = asyncio.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
        ports = Ports(self.home.ports_file)
        supervisor = Supervisor(Listener(say=self._say, changed=self._write_run_file, on_exit=self._exited))
        self._supervisor = supervisor
        self._listen_to_signals(stop, supervisor)
        try:
            await _unless(stop, self._start(supervisor, ports, demo=demo))
            await _first(stop, supervisor.broken)
            return await self._stop(supervisor)
        finally:
            await supervisor.close()
            ports.close()
            self.home.run_file.unlink(missing_ok=True)

    def _listen_to_signals(self, stop: asyncio.Event, supervisor: Supervisor) -> None:
        def stop_or_hurry() -> None:
            (supervisor.hurry if stop.is_set() else stop).set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop_or_hurry)

    async def _start(self, supervisor: Supervisor, ports: Ports, *, demo: bool) -> None:
        kept = secrets.load_or_create(self.home.path)
        remember_store(self.home, self._given)
        servers = build_servers(self.home, ports, kept, self._given)
        listening = Listening(ports, self._given)
        listening.take()
        self._console.print(f"Starting Hermes in {self.home.path} ...", markup=False, soft_wrap=True)
        await self._start_servers(supervisor, servers)
        site = self._site = build_site(self.home, kept, servers, listening, self._given)
        self._reporting = asyncio.create_task(self._crashes.run(site.nats_url("operator")))
        late = await supervisor.start(service_units(self.home, site, listening), within=SERVICES_WITHIN)
        self._addresses = addresses(servers, site, listening)
        self._ports = {"dicom": listening.dicom, "web": listening.http, **listening.health}
        self._ports |= {
            server.name: server.port for server in (servers.nats, servers.postgres, servers.s3) if server is not None
        }
        self._ready = not late
        self._write_run_file()
        print_table(self._console, supervisor.units.values(), self._addresses, self.home.path)
        print_addresses(self._console, site, self._sign_in(site, kept.path), ports.said)
        for unit in late:
            self._say(f"{unit.name} is not ready: {unit.reason} (log: {self.home.log(unit.name)}); it is tried further")
        if demo:
            await self._run_demo(Running(self.home, site, supervisor, self._console))
        self._console.print("Ctrl-C stops everything.")

    async def _start_servers(self, supervisor: Supervisor, servers: Servers) -> None:
        units = {unit.name: unit for unit in server_units(servers)}

        async def prepare_and_start(name: str, prepare: Callable[[], None]) -> list[Unit]:
            await asyncio.to_thread(prepare)
            return await supervisor.start([units[name]], within=SERVERS_WITHIN)

        starts = [prepare_and_start(server.name, server.prepare) for server in servers.all()]
        for late in await asyncio.gather(*starts):
            for unit in late:
                seconds = SERVERS_WITHIN.total_seconds()
                raise LocalError(
                    f"{unit.name} is not ready after {seconds:.0f} s: {unit.reason}. Its log: "
                    f"{self.home.log(unit.name)}"
                )

    async def _run_demo(self, running: Running) -> None:
        answer = import_module(DEMO).run_demo(running)
        if asyncio.iscoroutine(answer):
            await answer

    def _sign_in(self, site: Site, secrets_file: Path) -> SignIn:
        if self._given.get("HERMES_ADMIN_PASSWORD"):
            return SignIn(site.admin_user, None, "the one in HERMES_ADMIN_PASSWORD, if there was no user before")
        where = f"admin_password in {secrets_file}"
        if self.home.signed_in_file.exists():
            return SignIn(site.admin_user, None, f"shown at the first start; unless changed since, it is {where}")
        self.home.signed_in_file.touch(mode=0o600)
        return SignIn(site.admin_user, site.admin_password, f"also {where}")

    async def _stop(self, supervisor: Supervisor) -> int:
        self._console.print("Stopping: the services finish what they have in hand (again Ctrl-C: at once) ...")
        servers = [name for name, unit in supervisor.units.items() if unit.vital]
        await supervisor.stop([name for name in supervisor.units if name not in servers])
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        await supervisor.stop(servers)
        self._console.print("Stopped.")
        return 1 if supervisor.broken.is_set() else 0

    def _exited(self, name: str, code: int) -> None:
        unit = self._supervisor.units.get(name) if self._supervisor is not None else None
        pid = unit.process.pid if unit is not None and unit.process is not None else 0
        self._crashes.crashed(name, code, pid, self.home.log(name))

    def _say(self, text: str) -> None:
        stamp = dt.datetime.now().astimezone().strftime("%H:%M:%S")
        self._console.print(f"{stamp} {text}", markup=False, soft_wrap=True)

    def _write_run_file(self) -> None:
        units = self._supervisor.units if self._supervisor is not None else {}
        document = {
            "home": str(self.home.path),
            "ready": self._ready,
            "pid": os.getpid(),
            "created": created(os.getpid()),
            "started": self._started.isoformat(timespec="seconds"),
            "addresses": self._addresses,
            "ports": self._ports,
            "processes": {unit.name: _entry(unit) for unit in units.values() if unit.process is not None},
            "environment": operator_environment(self._site) if self._site is not None else {},
        }
        try:
            runfile.write(self.home.run_file, document)
        except OSError as problem:  # a full disk must not end the launcher
            print(f"hermes: {self.home.run_file} cannot be written: {problem}", file=sys.stderr)  # noqa: T201


def _entry(unit: Unit) -> dict[str, Any]:
    process = unit.process
    if process is None:
        raise ValueError(unit.name)
    return {
        "pid": process.pid,
        "created": process.created,
        "state": unit.state.value,
        "ready": unit.state is State.READY,
        "reason": unit.reason,
        "restarts": unit.restarts,
        "log": str(process.program.log),
        "stop_signal": int(process.program.stop_signal),
    }


async def _unless(stop: asyncio.Event, work: Any) -> None:
    """Does the work, or gives it up when `stop` is set first."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def _first(*events: asyncio.Event) -> None:
    waiting = {asyncio.create_task(event.wait()) for event in events}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
