"""Questions on the bus: so many at a time are answered, and whoever asks beyond that is told so at once."""

import asyncio

import pytest
from pydantic import BaseModel

from hermes_common.runtime.answering import Answering
from hermes_common.runtime.bus import Bus

pytestmark = pytest.mark.servers

SUBJECT = "hermes.ask.target.test"


class Said(BaseModel):
    """An answer."""

    words: str


async def test_beyond_so_many_questions_each_is_told_at_once_and_the_others_are_answered_in_the_end(bus: Bus) -> None:
    release = asyncio.Event()

    async def answer(question: bytes, *, is_busy: bool) -> Said:
        if not is_busy:
            await release.wait()
        return Said(words=f"{question.decode()} {'busy' if is_busy else 'done'}")

    async def ask(words: str) -> str:
        return Said.model_validate_json((await bus.nc.request(SUBJECT, words.encode(), timeout=20)).data).words

    desk = Answering(bus, SUBJECT, answer, 2, "tests")
    answering = asyncio.create_task(desk.run())
    await bus.nc.flush()
    first = [asyncio.create_task(ask(words)) for words in ("a", "b")]
    async with asyncio.timeout(20):
        while len(desk._tasks) < 2:
            await asyncio.sleep(0.01)
    assert await ask("c") == "c busy"
    release.set()
    assert await asyncio.gather(*first) == ["a done", "b done"]
    assert await ask("d") == "d done"
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
