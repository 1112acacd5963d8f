"""The commands that the launcher adds to the command line. Importing this is cheap: the work is imported when it is
asked for.
"""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="HERMES_HOME", help="Data and secrets of the all-in-one.", show_default="./var"),
]
Demo = Annotated[
    bool, typer.Option("--demo", help="Add demo targets and rules, send a few series, and show where they went.")
]

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Adds `up` and `test`."""
    app.command("up")(up)
    app.command("test", context_settings=PASS_ON)(test)


def up(home: Home = None, demo: Demo = False) -> None:
    """The whole router on this machine, servers included, until Ctrl-C."""
    from hermes_local.up import run_up

    raise typer.Exit(run_up(home=home, demo=demo))


def test(context: typer.Context) -> None:
    """All checks, then all tests; with arguments only pytest, which gets them."""
    from hermes_local.testrun import run_tests

    raise typer.Exit(run_tests(context.args))
