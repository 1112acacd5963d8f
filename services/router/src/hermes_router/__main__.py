"""``hermes-router``: the router as a process, configured by environment alone."""

from hermes_common.runtime.service import run_service
from hermes_router.app import build
from hermes_router.settings import Settings


def main() -> None:
    """Run the router until it is told to stop."""
    run_service("router", Settings, build)


if __name__ == "__main__":
    main()
