"""``hermes-receiver``: settings from the environment, then the service until it is told to stop."""

from __future__ import annotations

from typing import NoReturn

from hermes_common.runtime.service import run_service
from hermes_receiver.app import main as start
from hermes_receiver.settings import Settings


def main() -> NoReturn:
    """Run the receiver."""
    run_service("receiver", Settings, start)


if __name__ == "__main__":
    main()
