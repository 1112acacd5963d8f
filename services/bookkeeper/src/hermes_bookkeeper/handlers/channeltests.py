"""Answers requests to send a test over a channel, one bookkeeper each."""

from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from hermes_bookkeeper.handlers.telling import Teller
from hermes_common.channels import ASK_TEST, ChannelTestAsked, ChannelTested
from hermes_common.runtime.answering import Answering
from hermes_common.runtime.bus import Bus
from hermes_common.targettests import Step

MOST: Final = 16
"""Tests that wait or are made; another one is refused."""
_BUSY: Final = "too many tests are asked for at once; try again in a minute"


class Answerer:
    """Answers until it is cancelled."""

    def __init__(self, bus: Bus, teller: Teller, refresh: Callable[[], Awaitable[None]]) -> None:
        self._bus = bus
        self._teller = teller
        self._refresh = refresh

    async def run(self) -> None:
        """Answer until cancelled."""
        await self._bus.ready()
        await Answering(self._bus, ASK_TEST, self._answer, MOST, "bookkeeper").run()

    async def _answer(self, question: bytes, *, is_busy: bool) -> ChannelTested | None:
        try:
            asked = ChannelTestAsked.model_validate_json(question)
        except ValidationError:
            return None
        if is_busy:
            step = Step(name="test", ok=False, milliseconds=0, detail=_BUSY)
            return ChannelTested(channel=asked.slug, ok=False, steps=[step])
        await self._refresh()  # it may have been saved a moment ago
        return await self._teller.test(asked.slug, asked.actor)
