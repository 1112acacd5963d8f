"""One process of a receiver of several: a worker, which receives into a spool of its own on a port that it shares, or
the one that uploads from all spools.

Started by the supervisor (:mod:`hermes_receiver.supervisor`), which speaks for all of them to the outside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from typing import Final, NoReturn, assert_never

from hermes_common.runtime.health import Health
from hermes_common.runtime.service import Context, run_service
from hermes_receiver import app, uploads
from hermes_receiver.adapters.share import Role, Share, inherited
from hermes_receiver.settings import Settings

log = logging.getLogger(__name__)

_PERIOD: Final = 1.0
_ORPHANED: Final = 70


def main() -> NoReturn:
    """Run the worker until it is told to stop, or until its supervisor is gone."""
    share = inherited()
    if share is None:
        sys.exit("this is started by hermes-receiver, not by people")
    threading.Thread(target=_watch, args=(share.lifeline_fd,), name="lifeline", daemon=True).start()

    async def start(context: Context[Settings]) -> None:
        match share.role:
            case Role.RECEIVE:
                await app.main(context)
            case Role.UPLOAD:
                await uploads.main(context, share)
            case _:
                assert_never(share.role)
        context.background("report", _report(context.health, share))

    run_service("receiver", Settings, start, health=False, announced=False)


def _watch(lifeline: int) -> None:
    """End at once when the supervisor is gone: its successor needs the port and the spool. What was answered with
    Success is durable; what is under way has not been answered.
    """
    while os.read(lifeline, 1):
        pass
    os._exit(_ORPHANED)


async def _report(health: Health, share: Share) -> None:
    """Tell the supervisor how this worker is, every second."""
    os.set_blocking(share.status_fd, False)
    while True:
        ready, checks = health.report()
        try:
            os.write(share.status_fd, json.dumps({"ready": ready, "checks": checks}).encode() + b"\n")
        except BlockingIOError:
            log.debug("the supervisor does not listen")
        await asyncio.sleep(_PERIOD)


if __name__ == "__main__":
    main()
