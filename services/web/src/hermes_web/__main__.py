"""``python -m hermes_web``."""

from hermes_common.runtime.service import run_service
from hermes_web.app import main as start
from hermes_web.settings import Settings


def main() -> None:
    """Run the web service until it is told to stop."""
    run_service("web", Settings, start, health=False)


if __name__ == "__main__":
    main()
