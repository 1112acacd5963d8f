"""`hermes events`: what happens, as it happens, straight from the bus."""

import asyncio
import os
import shlex
from typing import Annotated
from urllib.parse import urlsplit

import typer

from hermes_cli.connection import environment_of
from hermes_cli.errors import CliError, UsageError
from hermes_cli.options import Json
from hermes_cli.output import clean, note

app = typer.Typer(no_args_is_help=True, help="Events of the router.")

Subject = Annotated[str, typer.Option("--subject", help="Subject, with the wildcards * and > of NATS.")]
Count = Annotated[int, typer.Option("--count", min=0, help="End after so many; 0 goes on until Ctrl-C.")]


@app.callback()
def events() -> None:
    """Events of the router."""


@app.command("tail")
def tail(subject: Subject = "hermes.v1.>", count: Count = 0, json: Json = False) -> None:
    """Follow events from now on, one line each, until Ctrl-C."""
    from hermes_cli.tailing import follow

    if not subject or any(mark.isspace() for mark in subject):
        raise UsageError(f"{subject!r} is no subject: words separated by dots, such as 'hermes.v1.delivery.>'")
    servers = environment_of(os.environ).get("HERMES_NATS_URL", "nats://127.0.0.1:4222")
    note(f"the same with the nats command: {nats_command(servers, subject)}")
    try:
        asyncio.run(follow(servers, subject, count=count, as_json=json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except OSError as problem:
        raise CliError(
            f"the bus at {without_secrets(servers)} does not let us in ({clean(problem)}). Start the "
            f"router with `hermes up`, or say where the bus is, with user and password: HERMES_NATS_URL"
        ) from problem


def nats_command(servers: str, subject: str) -> str:
    """Return the command of the NATS project that shows the same; user and password are left to its context."""
    user = next((urlsplit(part.strip()).username for part in servers.split(",")), None)
    login = f" --user {shlex.quote(user)} --password ..." if user else ""
    return f"nats --server {shlex.quote(without_secrets(servers))}{login} sub {shlex.quote(subject)}"


def without_secrets(servers: str) -> str:
    """Return a comma-separated list of addresses without users and passwords."""
    parts = [urlsplit(part.strip()) for part in servers.split(",")]
    return ",".join(part._replace(netloc=part.netloc.rpartition("@")[2]).geturl() for part in parts)
