"""A PostgreSQL whose data stay in a folder, so that a long history is made once and measured many times.

    .venv/bin/python bench/books/kept.py FOLDER SERIES [WITHIN]

fills it with so many series of ten instances each, beginning no month after WITHIN seconds; call it again until it
says that all is there. The folder has the programs' own user as its owner; remove it when done.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import history  # a file beside this one
from pydantic import SecretStr

from hermes_local.ports import Ports
from hermes_local.process import Process
from hermes_local.secrets import load_or_create
from hermes_local.servers.postgres import PostgresServer


@contextlib.contextmanager
def kept_postgres(folder: Path) -> Iterator[str]:
    """Run the PostgreSQL of a folder, with the settings of the all-in-one; yield its address for SQLAlchemy."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    ports = Ports(state=None)
    secrets = load_or_create(folder)
    server = PostgresServer(
        folder / "postgres",
        ports,
        superuser_password=secrets.postgres_superuser,
        password=secrets.postgres,
        log=folder / "postgres.log",
        port=0,
    )
    server.prepare()
    process = Process(server.program())
    try:
        process.wait_ready()
        yield server.url
    finally:
        process.stop()
        ports.close()


def main() -> None:
    """Fill."""
    folder, series = Path(sys.argv[1]), int(sys.argv[2])
    within = float(sys.argv[3]) if len(sys.argv) > 3 else 3600.0
    with kept_postgres(folder) as url:
        done = history.fill(SecretStr(url), series, within=within)
        print("all is there" if done else "call it again", flush=True)


if __name__ == "__main__":
    main()
