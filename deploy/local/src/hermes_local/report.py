"""What the person at the terminal sees."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hermes_local.services import Site
from hermes_local.supervisor import State, Unit

STYLES = {State.READY: "green", State.STARTING: "yellow", State.RESTARTING: "red", State.STOPPED: "dim"}


@dataclass(frozen=True, slots=True)
class SignIn:
    """How to sign in the first time: what is said about the administrator's account."""

    user: str
    password: str | None
    instead: str


def print_table(console: Console, units: Iterable[Unit], addresses: dict[str, str], home: Path) -> None:
    """One row for each process: where it listens, its process id, whether it is ready, where its log is (from the
    home).
    """
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    for heading in ("part", "address", "pid", "state", "log"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "pid" else "left")
    for unit in units:
        process = unit.process
        state = Text(
            unit.state.value if unit.state is State.READY else f"{unit.state.value}: {unit.reason[:60]}",
            STYLES[unit.state],
        )
        pid, log = ("-", "-") if process is None else (str(process.pid), str(process.program.log.relative_to(home)))
        table.add_row(unit.name, addresses.get(unit.name, ""), pid, state, Text(log))
    console.print(table)


def print_addresses(console: Console, site: Site, sign_in: SignIn, said: Iterable[str]) -> None:
    """Where to send images, where to look, how to sign in, and which ports are not the usual ones."""
    for line in said:
        _line(console, "note", line)
    where = "this machine's address" if site.dicom_host in {"0.0.0.0", "::"} else site.dicom_host
    _line(console, "DICOM", f"AE title {site.dicom_aet}, {where}, port {site.dicom_port} (Storage, Verification)")
    _line(console, "web", site.web_address)
    _line(console, "user", sign_in.user)
    if sign_in.password is None:
        _line(console, "password", sign_in.instead)
    else:
        _line(console, "password", f"{sign_in.password} (shown this once; {sign_in.instead})")


def _line(console: Console, name: str, text: str) -> None:
    console.print(Text.assemble((f"{name:>9}  ", "bold"), text), soft_wrap=True)
