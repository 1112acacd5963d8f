"""What the launcher asks of an embedded server."""

import http.client
import shutil
import sysconfig
from pathlib import Path
from typing import Protocol

from hermes_local.errors import BinaryMissingError
from hermes_local.process import Program

HOST = "127.0.0.1"


class Server(Protocol):
    """An embedded server of one home."""

    name: str

    def prepare(self) -> None:
        """Makes what must be there before the server starts: folders, configuration, the database cluster."""

    def program(self) -> Program:
        """What to start, on the present ports; ready means that clients can work with it."""

    def move(self) -> None:
        """Chooses other ports, after the present ones could not be bound."""

    def addresses(self) -> dict[str, str]:
        """What listens where, for people."""


def find_program(name: str, package: str) -> str:
    """The path of a program that a Python package brought into this environment; raises BinaryMissingError."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise BinaryMissingError(name, package)
    return found


def http_status(port: int, path: str, *, host: str = HOST, timeout: float = 1.0) -> str | None:
    """Asks a server on this machine; None when it answers 200, else what is missing."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(2000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as problem:
        return f"no answer from {host}:{port} ({problem})"
    finally:
        connection.close()
    return None if answer.status == 200 else f"{host}:{port}{path} answers {answer.status} {text}".rstrip()


def folder(path: Path) -> Path:
    """Makes a folder that only its owner can enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
