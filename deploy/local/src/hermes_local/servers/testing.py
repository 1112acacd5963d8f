"""The servers for tests: real ones, on free ports, with their data in a folder of the test.

    with nats_server(tmp_path) as nats:
        nats.url("operator")
    with postgres_server(tmp_path) as postgres:
        postgres.url
    with s3_server(tmp_path) as s3:
        s3.endpoint, s3.access_key, s3.secret_key, s3.bucket

Each may be started in the same folder again and finds its data. Start them in the main thread: they end with the
thread that started them.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermes_local.ports import Ports
from hermes_local.process import Process
from hermes_local.secrets import Secrets, load_or_create
from hermes_local.servers.base import Server, folder
from hermes_local.servers.nats import NatsServer
from hermes_local.servers.postgres import PostgresServer
from hermes_local.servers.s3 import S3Server

ATTEMPTS = 5
_PLACES: dict[Path, Path] = {}


@dataclass(frozen=True, slots=True)
class RunningNats:
    """A NATS that runs."""

    server: NatsServer
    process: Process

    def url(self, user: str = "operator") -> str:
        """The address for one of the users, password included."""
        return self.server.url(user)


@dataclass(frozen=True, slots=True)
class RunningPostgres:
    """A PostgreSQL that runs; `url` is for SQLAlchemy with psycopg2."""

    server: PostgresServer
    process: Process
    url: str


@dataclass(frozen=True, slots=True)
class RunningS3:
    """An object store that runs, with an empty bucket the first time."""

    server: S3Server
    process: Process
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@contextmanager
def nats_server(folder_of_test: Path, *, port: int = 0) -> Iterator[RunningNats]:
    """NATS with JetStream, its users and passwords as in the all-in-one."""
    with _home(folder_of_test) as (home, ports, secrets):
        server = NatsServer(home / "nats", ports, secrets.nats, log=home / "nats.log", port=port, monitoring_port=0)
        with _running(server) as process:
            yield RunningNats(server, process)


@contextmanager
def postgres_server(folder_of_test: Path, *, port: int = 0) -> Iterator[RunningPostgres]:
    """PostgreSQL with an empty database."""
    with _home(folder_of_test) as (home, ports, secrets):
        server = PostgresServer(
            _place_for_postgres(home),
            ports,
            superuser_password=secrets.postgres_superuser,
            password=secrets.postgres,
            log=home / "postgres.log",
            port=port,
        )
        with _running(server) as process:
            yield RunningPostgres(server, process, server.url)


@contextmanager
def s3_server(folder_of_test: Path, *, port: int = 0) -> Iterator[RunningS3]:
    """The object store with its bucket."""
    with _home(folder_of_test) as (home, ports, secrets):
        server = S3Server(
            home / "s3",
            ports,
            access_key=secrets.s3_access_key,
            secret_key=secrets.s3_secret_key,
            internal_key=secrets.s3_internal,
            log=home / "s3.log",
            port=port,
        )
        with _running(server) as process:
            yield RunningS3(
                server, process, server.endpoint, secrets.s3_access_key, secrets.s3_secret_key, server.bucket
            )


def _place_for_postgres(home: Path) -> Path:
    """In the home; for root in a folder of its own, removed at the end of this process.

    As root PostgreSQL runs as another user, whose right to pass through pytest's folder goes whenever another pytest
    starts.
    """
    if os.geteuid() != 0:
        return home / "postgres"
    if home not in _PLACES:
        _PLACES[home] = Path(tempfile.mkdtemp(prefix="hermes-test-postgres-"))
        atexit.register(shutil.rmtree, _PLACES[home], ignore_errors=True)
    return _PLACES[home]


@contextmanager
def _home(path: Path) -> Iterator[tuple[Path, Ports, Secrets]]:
    home = folder(path).resolve()
    ports = Ports(state=None)
    try:
        yield home, ports, load_or_create(home)
    finally:
        ports.close()


@contextmanager
def _running(server: Server) -> Iterator[Process]:
    process = _start(server)
    try:
        yield process
    finally:
        process.stop()


def _start(server: Server) -> Process:
    server.prepare()
    for attempt in range(ATTEMPTS):
        process = Process(server.program())
        try:
            process.wait_ready()
        except BaseException:
            process.kill()
            if attempt + 1 == ATTEMPTS or not process.lost_its_port():
                raise
            server.move()
        else:
            return process
    raise AssertionError("the last attempt returned or raised")
