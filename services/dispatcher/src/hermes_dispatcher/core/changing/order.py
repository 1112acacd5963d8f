"""What is to be done to a data set."""

from dataclasses import dataclass

from hermes_common.changes import Changes


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done to a data set. ``changes``: with their key in plain; None if only the syntax changes.

    ``to`` is the transfer syntax to write, None to leave it. ``most``: octets that the work may take.
    """

    syntax: str
    changes: Changes | None
    to: str | None
    ratio: float | None
    most: int
