"""Ports: the wanted one whenever it is free; else the one of the last start, else the next free one.

Several launchers start side by side on one machine: each port taken is reserved by a lock on a file that all launchers
of one user share, which the kernel lets go when the launcher ends. A program of somebody else can still be faster;
then the server fails to bind, and `renew` gives other ports.
"""

import fcntl
import json
import os
import socket
import tempfile
from pathlib import Path

from hermes_local.errors import NoFreePortError
from hermes_local.secrets import write_private

TRIED = 200
HIGHEST = 55535  # the object store also uses port + 10000


class Ports:
    """The ports of one home. `said` collects, in words, where a port differs from the one that was wanted."""

    def __init__(self, state: Path | None, reservations: Path | None = None) -> None:
        self.said: list[str] = []
        self._state = state
        self._known = _load(state)
        self._folder = _reservation_folder() if reservations is None else reservations
        self._held: dict[int, int] = {}
        self._avoid: dict[str, set[int]] = {}

    def take(self, name: str, wanted: int, *, host: str = "127.0.0.1", also: int = 0, exact: bool = False) -> int:
        """A free port for `name`: `wanted`, else the one it had before, else the next free one. When `wanted` is 0: the
        one it had before, else any free one.

        `also`: this distance above the port another one must be free too (0: none). `exact`: raise NoFreePortError
        when `wanted` is not free, because a person asked for exactly that one.
        """
        avoid = self._avoid.get(name, set())
        for port in self._candidates(name, wanted, exact=exact):
            if port not in avoid and self._reserve(port, host, also):
                self._remember(name, wanted, port)
                return port
        instead = "" if exact else f", and none of the {TRIED} behind it is"
        raise NoFreePortError(
            f"Port {wanted} for {name} is not free{instead}. `ss -ltnp` shows who has it; stop that, or choose "
            f"another port."
        )

    def renew(self, name: str, port: int) -> None:
        """Gives a port back that could not be bound, so that the next `take` chooses another."""
        self._avoid.setdefault(name, set()).add(port)
        self._known.pop(name, None)

    def close(self) -> None:
        """Lets all reservations go."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _candidates(self, name: str, wanted: int, *, exact: bool) -> list[int]:
        if exact:
            return [wanted]
        before = [self._known[name]] if name in self._known else []
        following = range(wanted, min(wanted + TRIED, HIGHEST)) if wanted else [_any_free() for _ in range(TRIED // 4)]
        return [wanted, *before, *following] if wanted else [*before, *following]

    def _reserve(self, port: int, host: str, also: int) -> bool:
        pair = [port, port + also] if also else [port]
        if any(number > 65535 or number in self._held or not free(number, host) for number in pair):
            return False
        taken: list[int] = []
        for number in pair:
            if not self._lock(number):
                for given_back in taken:
                    os.close(self._held.pop(given_back))
                return False
            taken.append(number)
        return True

    def _lock(self, port: int) -> bool:
        descriptor = os.open(self._folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._held[port] = descriptor
        return True

    def _remember(self, name: str, wanted: int, port: int) -> None:
        if wanted and port != wanted:
            self.said.append(f"{name}: port {port} instead of {wanted} (in use)")
        if self._known.get(name) != port:
            self._known[name] = port
            if self._state is not None:
                write_private(self._state, json.dumps(self._known, indent=2) + "\n")


def free(port: int, host: str) -> bool:
    """Whether a server could listen on this port now, on `host` and on the loopback address."""
    return all(_bindable(address, port) for address in {host, "127.0.0.1", "0.0.0.0"})


def _bindable(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return port if port < HIGHEST else port - 20000


def _load(state: Path | None) -> dict[str, int]:
    if state is None or not state.exists():
        return {}
    try:
        document = json.loads(state.read_text(encoding="utf-8"))
    except ValueError:  # only a memory of convenience: the defaults do as well
        return {}
    return {str(name): int(port) for name, port in document.items()} if isinstance(document, dict) else {}


def _reservation_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"hermes-ports-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid():
        return Path(tempfile.mkdtemp(prefix="hermes-ports-"))
    return folder
