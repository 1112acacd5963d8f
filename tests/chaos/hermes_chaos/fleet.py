"""The router as processes: three servers and the services, each of which can be killed, stopped, started otherwise."""

import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hermes_local.ports import Ports
from hermes_local.process import Process, Program
from hermes_local.secrets import load_or_create
from hermes_local.servers.base import Server
from hermes_local.servers.nats import NatsServer
from hermes_local.servers.postgres import PostgresServer
from hermes_local.servers.s3 import S3Server
from hermes_local.services import SERVICES, Service, Site, operator_environment, program_of

SERVER_NAMES = ("nats", "s3", "postgres")
"""The servers of a router on one NATS; in a cluster there are ``nats.2`` and ``nats.3`` beside the first."""
SERVICE_NAMES = tuple(service.name for service in SERVICES)

QUICK = {
    "HERMES_DISPATCHER_LEASE": "3s",
    "HERMES_RECEIVER_WORKERS": "1",
    "HERMES_SPOOL_MIN_FREE_BYTES": "1000000",
    "HERMES_SPOOL_GRACE": "30s",
}
"""One process for each service, so that a kill is the end of it; leases that end within a test's patience; and a spool
that fits into a small volume."""

_POINT = re.compile(r'\bcrash_point\(\s*"([^"]+)"\s*\)')


def crash_points(checkout: Path) -> dict[str, list[str]]:
    """Return every crash point that is named in the code, by service."""
    found = {}
    for service in SERVICE_NAMES:
        sources = sorted((checkout / "services" / service / "src").rglob("*.py"))
        found[service] = sorted({point for path in sources for point in _POINT.findall(path.read_text("utf-8"))})
    return found


CLUSTER = """
cluster {{
  name: hermes
  listen: "127.0.0.1:{port}"
  routes: [{routes}]
}}
"""


class NatsNode(NatsServer):
    """One server of a NATS cluster; ``routes`` are the ports on which its servers find each other, its own first."""

    def __init__(self, name: str, routes: Sequence[int], home: Path, ports: Ports, users: Mapping[str, str]) -> None:
        super().__init__(home / name, ports, users, log=home / "logs" / f"{name}.log", port=0, monitoring_port=0)
        self.name = name
        self._file = home / name / "nats.conf"
        self._routes = routes

    def prepare(self) -> None:
        """Write the configuration of a server that is not alone."""
        super().prepare()
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in self._routes[1:])
        text = self._file.read_text("utf-8").replace("server_name: hermes", f"server_name: {self.name}")
        self._file.write_text(text + CLUSTER.format(port=self._routes[0], routes=routes), "utf-8")


class Fleet:
    """One router in ``home``. To be made and used in the main thread: its processes end with it.

    ``nodes``: how many NATS servers it has; three make a cluster. ``spool``: where the receiver's spool is.
    ``settings``: variables of the services that are not as in :data:`QUICK`.
    """

    def __init__(
        self, home: Path, nodes: int = 1, spool: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.home = home
        self.ports = Ports(state=None)
        secrets = load_or_create(home)
        self._logs = home / "logs"
        self._logs.mkdir(exist_ok=True)
        names = ["nats", *[f"nats.{number}" for number in range(2, nodes + 1)]]
        routes = {name: self.ports.take(f"{name}-route", 0) for name in names if nodes > 1}
        self.nats: dict[str, NatsServer] = {}
        for name, port in routes.items():
            others = [each for each in routes.values() if each != port]
            self.nats[name] = NatsNode(name, [port, *others], home, self.ports, secrets.nats)
        if not routes:
            log = self._logs / "nats.log"
            self.nats["nats"] = NatsServer(home / "nats", self.ports, secrets.nats, log=log, port=0, monitoring_port=0)
        self.postgres = PostgresServer(
            home / "postgres",
            self.ports,
            superuser_password=secrets.postgres_superuser,
            password=secrets.postgres,
            log=self._logs / "postgres.log",
            port=0,
        )
        self.s3 = S3Server(
            home / "s3",
            self.ports,
            access_key=secrets.s3_access_key,
            secret_key=secrets.s3_secret_key,
            internal_key=secrets.s3_internal,
            log=self._logs / "s3.log",
            port=0,
        )
        self._servers: dict[str, Server] = {**self.nats, "s3": self.s3, "postgres": self.postgres}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
        self.site = Site(
            nats_url=lambda user: ",".join(node.url(user) for node in self.nats.values()),
            database_url=self.postgres.url,
            object_store={
                "HERMES_OBJECT_STORE": "s3",
                "HERMES_S3_ENDPOINT": self.s3.endpoint,
                "HERMES_S3_ACCESS_KEY": secrets.s3_access_key,
                "HERMES_S3_SECRET_KEY": secrets.s3_secret_key,
                "HERMES_S3_BUCKET": self.s3.bucket,
                "HERMES_S3_SECURE": "false",
            },
            dicom_host="127.0.0.1",
            dicom_port=self.ports.take("dicom", 0),
            dicom_aet="HERMES",
            http_host="127.0.0.1",
            http_port=self.ports.take("web", 0),
            spool=spool or home / "spool",
            admin_user="admin",
            admin_password=secrets.admin_password,
            admin_token=secrets.admin_token,
            secret_key=secrets.secret_key,
            given={**clean, **QUICK, **(settings or {}), "HERMES_NATS_REPLICAS": str(nodes)},
        )
        self._health: dict[str, int] = {}
        self.processes: dict[str, Process] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that reaches all of it."""
        return operator_environment(self.site)

    def start(self) -> None:
        """Start everything, and wait until it is ready."""
        self.prepare()
        self.run()

    def prepare(self) -> None:
        """Make the folders and configurations of the servers."""
        for server in self._servers.values():
            server.prepare()

    def run(self) -> None:
        """Start everything that has been prepared, and wait until it is ready."""
        for name in self._servers:
            self.spawn(name)
        for name in self._servers:
            self.processes[name].wait_ready()
        for name in SERVICE_NAMES:
            self.spawn(name)
        self.await_ready(SERVICE_NAMES)

    def spawn(self, name: str, **more: str) -> Process:
        """Start a server, a service, or one more of a service (``router.2``), which must not run; do not wait.

        ``more`` goes into its environment.
        """
        if name in self._servers:
            if name == "postgres" and name in self.processes:
                self.postgres.prepare()  # takes the stale pid file of one that was killed away
            program = self._servers[name].program()
        else:
            program = self._service(name)
        program = replace(program, environment={**program.environment, **more})
        self.processes[name] = Process(program)
        return self.processes[name]

    def _service(self, name: str) -> Program:
        service = _service_of(name)
        if name not in self._health:
            self._health[name] = self.ports.take(f"health-{name}", 0)
        return program_of(service, self.site, self._health[name], self._logs / f"{name}.log")

    def is_ready(self, name: str) -> bool:
        """Return whether it runs and says that it is ready."""
        process = self.processes[name]
        return process.exit_code() is None and process.why_not_ready() is None

    def await_ready(self, names: Sequence[str], within: float = 60.0) -> None:
        """Wait until these are ready; the error of hermes_local says which is not, with its last lines."""
        deadline = time.monotonic() + within
        for name in names:
            process = self.processes[name]
            while (reason := process.why_not_ready()) is not None:
                process.raise_if_over(deadline, reason)
                time.sleep(0.05)

    def died(self, name: str) -> bool:
        """Return whether it has ended; an exit that nobody asked for is an error of the product: ValueError says so."""
        code = self.processes[name].exit_code()
        if code not in (None, -signal.SIGKILL):
            lines = "\n".join(self.processes[name].last_lines(20))
            raise ValueError(f"{name} ended by itself with {code}:\n{lines}")
        return code is not None

    def kill(self, name: str) -> None:
        """SIGKILL to it and whatever it started."""
        self.processes[name].kill()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to it and whatever it started."""
        os.killpg(self.processes[name].pid, number)

    def terminate(self, name: str) -> int:
        """Ask it to end, as a supervisor does; return the exit code."""
        return self.processes.pop(name).stop()

    def restart(self, name: str, **more: str) -> None:
        """Kill it if it runs, start it, wait until it is ready."""
        self.kill(name)
        self.spawn(name, **more)
        self.await_ready([name])

    def stop(self) -> None:
        """End everything, services first."""
        for name in [each for each in self.processes if each not in self._servers]:
            self.processes[name].signal(signal.SIGCONT)
            self.processes[name].signal(signal.SIGTERM)
        for name in [*[each for each in self.processes if each not in self._servers], *self._servers]:
            if name in self.processes:
                self.processes.pop(name).stop()
        self.ports.close()

    def tail(self, name: str, lines: int = 15) -> str:
        """Return the last lines that a process wrote."""
        return "\n".join(self.processes[name].last_lines(lines))


def _service_of(name: str) -> Service:
    plain = name.partition(".")[0]
    return next(service for service in SERVICES if service.name == plain)
