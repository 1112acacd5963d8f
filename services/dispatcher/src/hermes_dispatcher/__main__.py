"""``hermes-dispatcher``: the dispatcher as a process, configured by environment alone."""

from hermes_common.runtime.service import run_service
from hermes_dispatcher.app import build
from hermes_dispatcher.settings import Settings


def main() -> None:
    """Run the dispatcher until it is told to stop."""
    run_service("dispatcher", Settings, build)


if __name__ == "__main__":
    main()
