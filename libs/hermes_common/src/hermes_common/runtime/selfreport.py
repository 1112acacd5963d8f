"""Answers what a process says of itself (:mod:`hermes_common.servicestate`)."""

import os
from datetime import datetime
from pathlib import Path

from nats.aio.msg import Msg

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_common.servicestate import ASK, ServiceState

_MOST = 256
"""Processes that are looked at, at most."""


async def answer_questions(bus: Bus, health: Health, service: str, instance: str, version: str, at: datetime) -> None:
    """Answer from now on, as long as the connection lives; a reconnect keeps the subscription."""

    async def tell(question: Msg) -> None:
        if question.reply:
            ready, checks = health.report()
            state = ServiceState(
                service=service,
                instance=instance,
                version=version,
                started_at=at,
                ready=ready,
                checks=checks,
                memory=resident(),
                numbers=health.numbers(),
                words=health.words,
            )
            await question.respond(state.model_dump_json().encode())

    await bus.nc.subscribe(ASK, cb=tell)


def resident() -> int | None:
    """Return the octets of memory of this process and its children, or None where there is no /proc."""
    found, left = 0, [os.getpid()]
    for _ in range(_MOST):
        if not left:
            break
        try:
            folder = Path("/proc") / str(left.pop())
            found += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in (folder / "task").iterdir():
                left += [int(child) for child in (thread / "children").read_text().split()]
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile, or this is no Linux
    return found or None
