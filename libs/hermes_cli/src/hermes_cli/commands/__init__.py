"""The commands, one module each. Importing them is cheap: heavy libraries are imported when a command runs."""

import typer

from hermes_cli.commands import (
    audit,
    cleaner,
    deliveries,
    doctor,
    events,
    rules,
    send,
    series,
    status,
    studies,
    targets,
)
from hermes_cli.commands.import_mercure import import_mercure


def register(app: typer.Typer) -> None:
    """Add every command of the command line's own."""
    app.command("status")(status.status)
    app.command("send")(send.send)
    app.command("doctor")(doctor.doctor)
    rules.app.command("import-mercure")(import_mercure)
    for name, group in (
        ("series", series.app),
        ("studies", studies.app),
        ("deliveries", deliveries.app),
        ("targets", targets.app),
        ("cleaner", cleaner.app),
        ("audit", audit.app),
        ("rules", rules.app),
        ("events", events.app),
    ):
        app.add_typer(group, name=name)
