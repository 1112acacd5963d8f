"""Questions on the bus whose answer takes a while: each answered by one process, in a task of its own, bounded."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

import nats.errors
from nats.aio.msg import Msg
from pydantic import BaseModel

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError

log = logging.getLogger(__name__)


class Answer(Protocol):
    """Answers a question."""

    def __call__(self, question: bytes, *, is_busy: bool) -> Awaitable[BaseModel | None]:
        """Return the answer; None to what is no question. ``is_busy``: too many wait, so this one is to be refused."""


class Answering:
    """Answers what is asked on a subject; of more than ``most`` at a time each is told so at once.

    Of all processes of the same ``service`` one gets each question.
    """

    def __init__(self, bus: Bus, subject: str, answer: Answer, most: int, service: str) -> None:
        self._bus = bus
        self._subject = subject
        self._answer = answer
        self._most = most
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled; the subscription outlives reconnections."""
        subscription = await self._bus.nc.subscribe(self._subject, queue=self._service, cb=self._asked)
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._bus.nc.is_connected:
                await subscription.unsubscribe()

    async def _asked(self, message: Msg) -> None:
        if len(self._tasks) >= self._most:
            await self._respond(message, is_busy=True)
            return
        task = asyncio.create_task(self._respond(message, is_busy=False))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, message: Msg, *, is_busy: bool) -> None:
        try:
            answer = await self._answer(message.data, is_busy=is_busy)
            if answer is not None:
                await message.respond(answer.model_dump_json().encode())
        except (nats.errors.Error, BusUnavailableError, OSError) as error:
            log.warning("a question on %s could not be answered: %s", self._subject, error)
