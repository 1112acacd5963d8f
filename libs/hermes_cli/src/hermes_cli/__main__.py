"""The `hermes` command: its own commands, and those of installed packages (entry-point group `hermes.commands`)."""

from collections.abc import Callable
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from hermes_cli.commands import register as register_own
from hermes_cli.errors import CliError
from hermes_cli.output import clean

COMMANDS = "hermes.commands"


def build() -> typer.Typer:
    """The application with every command that is installed.

    An entry point of the group names a function that takes the application and adds commands to it.
    """
    app = typer.Typer(
        name="hermes",
        help="The Hermes DICOM router.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,  # locals may hold secrets
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    register_own(app)
    for entry in sorted(entry_points(group=COMMANDS), key=lambda found: found.name):
        register: Callable[[typer.Typer], None] = entry.load()
        register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hermes {version('hermes-cli')}")
        raise typer.Exit


def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version and stop.")
    ] = False,
) -> None:
    """The Hermes DICOM router."""


def main() -> None:
    """Runs the command line of this process: an expected error is a line on standard error and its exit code."""
    try:
        build()(prog_name="hermes")
    except CliError as problem:
        for line in f"hermes: {problem}".splitlines():
            typer.echo(clean(line), err=True)
        raise SystemExit(problem.exit_code) from None


if __name__ == "__main__":
    main()
