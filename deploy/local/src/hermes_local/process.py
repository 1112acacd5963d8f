"""One program: how it is started, how it is known to be ready, how it is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs in the lock

from hermes_local import guard, logs
from hermes_local.account import Account
from hermes_local.core.restart import describe_exit
from hermes_local.errors import StartFailedError

BIND_FAILURES = ("address already in use", "is not available on", "could not bind", "errno 98", "errno 48")


@dataclass(frozen=True, slots=True)
class Program:
    """What to start.

    `ready` is asked again and again (it may take up to two seconds) and answers None when the program is ready, else
    why not.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: Callable[[], str | None]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    ready_within: timedelta = timedelta(seconds=30)
    stop_within: timedelta = timedelta(seconds=30)
    port: int | None = None
    """Where it is asked whether it is ready, if another program could be the one that answers there."""


class Process:
    """A started program. It dies with the thread that made it: make it in the main thread."""

    def __init__(self, program: Program) -> None:
        self.program = program
        logs.rotate(program.log)
        self._log_offset = program.log.stat().st_size if program.log.exists() else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(program.log, flags, 0o600)
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - programs and arguments are ours; there is no shell
                guarded(program),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=dict(program.environment),
                cwd=program.cwd,
                start_new_session=True,  # Ctrl-C reaches only the launcher, which stops things in order
            )
        finally:
            os.close(descriptor)
        self.started = time.monotonic()
        self.created = created(self._popen.pid)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs."""
        return self._popen.poll()

    def last_lines(self, count: int = 12) -> list[str]:
        """The last lines that this run wrote."""
        return logs.last_lines(self.program.log, since=self._log_offset, count=count)

    def lost_its_port(self) -> bool:
        """Whether the last lines tell of a port that somebody else has."""
        text = "\n".join(self.last_lines(60)).lower()
        return any(words in text for words in BIND_FAILURES)

    def why_not_ready(self) -> str | None:
        """Asks whether the program is ready; an answer counts only if it comes from this process."""
        reason = self.program.ready()
        if reason is not None or self.program.port is None or listens(self.pid, self.program.port):
            return reason
        return f"another program answers on port {self.program.port}"

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it still runs."""
        if self.exit_code() is None:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """Ends the process and everything it started, at once."""
        if self.exit_code() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def stop(self) -> int:
        """Asks the process to end, waits for `stop_within`, then kills it; returns the exit code."""
        self.signal(self.program.stop_signal)
        try:
            return self._popen.wait(self.program.stop_within.total_seconds())
        except subprocess.TimeoutExpired:
            self.kill()
            return self._popen.wait()

    def wait_ready(self) -> None:
        """Waits until the program is ready; raises StartFailedError when it ends before or needs longer than
        `ready_within`.
        """
        deadline = self.started + self.program.ready_within.total_seconds()
        while (reason := self.why_not_ready()) is not None:
            self.raise_if_over(deadline, reason)
            time.sleep(0.02)
        self.raise_if_over(deadline=None, reason="it ended")

    def raise_if_over(self, deadline: float | None, reason: str) -> None:
        """Raises StartFailedError when the process has ended or the (monotonic) deadline has passed."""
        code = self.exit_code()
        if code is not None:
            raise self.failure(f"it ended with {describe_exit(code)}")
        if deadline is not None and time.monotonic() > deadline:
            seconds = self.program.ready_within.total_seconds()
            raise self.failure(f"not ready within {seconds:.0f} s ({reason})")

    def failure(self, why: str) -> StartFailedError:
        """The error that says why this process is not there, with its last lines."""
        return StartFailedError(self.program.name, why, self.program.log, self.last_lines())


def guarded(program: Program) -> list[str]:
    """The command line of a program that runs as its account and gets its stop signal when this process dies."""
    account = program.account
    uid, gid = ("-", "-") if account is None else (str(account.uid), str(account.gid))
    prefix = [
        sys.executable,
        "-I",
        "-S",
        str(guard.__file__),
        str(os.getpid()),
        str(int(program.stop_signal)),
        uid,
        gid,
    ]
    return [*prefix, *program.argv]


def created(pid: int) -> float:
    """When the process was created (seconds of the epoch); 0.0 when it is gone."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def listens(pid: int, port: int) -> bool:
    """Whether a process, or one that it started, listens on a TCP port; True where the system does not let us look."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        found = [socket for member in family for socket in member.net_connections("tcp")]
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return any(socket.status == psutil.CONN_LISTEN and socket.laddr.port == port for socket in found)
