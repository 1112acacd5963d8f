"""``hermes-cleaner``: the cleaner as a process, configured by environment alone."""

from hermes_cleaner.app import build
from hermes_cleaner.settings import Settings
from hermes_common.runtime.service import run_service


def main() -> None:
    """Run the cleaner until it is told to stop."""
    run_service("cleaner", Settings, build)


if __name__ == "__main__":
    main()
