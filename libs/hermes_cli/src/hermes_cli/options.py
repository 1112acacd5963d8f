"""Options that many commands share."""

import os
from typing import Annotated

import typer

from hermes_cli.api import Api
from hermes_cli.connection import find_connection

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Url = Annotated[
    str | None, typer.Option("--url", help="Address of the router. Default: HERMES_URL, else the one running here.")
]
Token = Annotated[
    str | None,
    typer.Option("--token", help="API token; better given as HERMES_TOKEN, where `ps` does not show it."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


def api(url: str | None, token: str | None) -> Api:
    """Return a client of the router that the options, the environment or the home name."""
    return Api(find_connection(url, token, os.environ))
