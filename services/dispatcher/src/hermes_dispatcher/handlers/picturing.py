"""Small pictures, asked for on the bus: a dispatcher answers, as it reads the store and has the decoders anyway."""

import asyncio
import logging
from typing import Final

from pydantic import ValidationError

from hermes_common.runtime.answering import Answering
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import TransientError
from hermes_common.thumbnails import ASK, NoPicture, Thumbnail, ThumbnailAsked
from hermes_dispatcher.adapters.illustrator import Illustrator
from hermes_dispatcher.adapters.threads import in_daemon

log = logging.getLogger(__name__)

WAITING: Final = 16
"""Requests that may wait for the one under way; another one is told that everything is busy."""
LONGEST: Final = 25.0
"""Seconds from the request to the answer, whatever the store and the decoder do."""


class Picturer:
    """Answers requests for pictures, one dispatcher each, one at a time."""

    def __init__(self, bus: Bus, illustrator: Illustrator, name: str) -> None:
        self._bus = bus
        self._illustrator = illustrator
        self._name = name
        self._turn = asyncio.Semaphore(1)

    async def run(self) -> None:
        """Answer until cancelled."""
        await Answering(self._bus, ASK, self._answer, WAITING + 1, "dispatcher").run()

    async def _answer(self, question: bytes, *, is_busy: bool) -> Thumbnail | None:
        try:
            asked = ThumbnailAsked.model_validate_json(question)
        except ValidationError:
            return None
        found = _unavailable("too many pictures are asked for at once") if is_busy else await self._found(asked)
        return found.model_copy(update={"dispatcher": self._name})

    async def _found(self, asked: ThumbnailAsked) -> Thumbnail:
        try:
            return await asyncio.wait_for(self._made(asked), LONGEST)
        except TimeoutError:
            return _unavailable(f"it was not ready after {LONGEST:g} s")

    async def _made(self, asked: ThumbnailAsked) -> Thumbnail:
        async with self._turn:
            try:
                return await in_daemon("picture", lambda: self._illustrator.thumbnail(asked.instance))
            except TransientError:
                return _unavailable("the object store does not answer")
            except Exception:
                log.exception("a picture could not be made")
                return _unavailable("an error of ours, which is in the log of the dispatcher")


def _unavailable(reason: str) -> Thumbnail:
    return Thumbnail(why_not=NoPicture.UNAVAILABLE, reason=reason)
