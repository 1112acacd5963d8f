"""``hermes-bookkeeper``: settings from the environment, then the service until it is told to stop."""

from typing import NoReturn

from hermes_bookkeeper.app import main as start
from hermes_bookkeeper.settings import Settings
from hermes_common.runtime.service import run_service


def main() -> NoReturn:
    """Run the bookkeeper."""
    run_service("bookkeeper", Settings, start)


if __name__ == "__main__":
    main()
