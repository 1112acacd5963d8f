"""Answers requests to send a test over a channel, one bookkeeper each."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from pydantic import ValidationError

from hermes_bookkeeper.handlers.telling import Teller
from hermes_common.channels import ASK_TEST, ChannelTestAsked
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError

log = logging.getLogger(__name__)

MOST: Final = 16
"""Tests that wait or are made; more are not answered."""


class Answerer:
    """Answers until it is cancelled."""

    def __init__(self, bus: Bus, teller: Teller, refresh: Callable[[], Awaitable[None]]) -> None:
        self._bus = bus
        self._teller = teller
        self._refresh = refresh
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled; the subscription outlives reconnections."""
        await self._bus.ready()
        subscription = await self._bus.nc.subscribe(ASK_TEST, queue="bookkeeper", cb=self._asked)
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._bus.nc.is_connected:
                await subscription.unsubscribe()

    async def _asked(self, message: Msg) -> None:
        if len(self._tasks) >= MOST:
            log.warning("too many tests of channels at once")
            return
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            asked = ChannelTestAsked.model_validate_json(message.data)
        except ValidationError:
            return
        try:
            await self._refresh()  # it may have been saved a moment ago
            answer = await self._teller.test(asked.slug, asked.actor)
            await message.respond(answer.model_dump_json().encode())
        except (nats.errors.Error, BusUnavailableError, OSError) as error:
            log.warning("the test of channel %s could not be answered: %s", asked.slug, error)
