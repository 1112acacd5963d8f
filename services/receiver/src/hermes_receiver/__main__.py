"""``hermes-receiver``: settings from the environment, then the service until it is told to stop.

One worker is this process itself; more are processes of their own, with this one as their supervisor.
"""

from __future__ import annotations

from typing import NoReturn

from hermes_common.runtime.service import Context, run_service
from hermes_receiver.settings import Settings
from hermes_receiver.telling import tell


def main() -> NoReturn:
    """Run the receiver."""
    run_service("receiver", Settings, _start, health=False)


async def _start(context: Context[Settings]) -> None:
    """Import only what this process is: metrics belong to the process that counts."""
    tell(context.health, context.settings)
    if context.settings.receiver_workers > 1:
        from hermes_receiver import supervisor

        await supervisor.main(context)
    else:
        from hermes_receiver import app

        context.serve_health()
        await app.main(context)


if __name__ == "__main__":
    main()
