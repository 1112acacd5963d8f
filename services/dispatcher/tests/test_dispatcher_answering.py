"""Questions on the bus: so many at a time are answered, and whoever asks beyond that is told so at once."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from hermes_common.previews import Preview, PreviewAsked
from hermes_common.runtime.bus import Bus
from hermes_common.targettests import TargetTestAsked, TargetTested
from hermes_common.thumbnails import Thumbnail, ThumbnailAsked
from hermes_dispatcher.handlers.answering import Answering
from hermes_dispatcher.handlers.picturing import Picturer
from hermes_dispatcher.handlers.previewing import Previewer
from hermes_dispatcher.handlers.testing import Answerer

from .conftest import SERIES

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

    desk = Answering(bus, SUBJECT, answer, 2)
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


async def test_every_kind_of_question_is_refused_in_words_while_too_many_wait(place: Any) -> None:
    instance = place.instance(0)
    target = place.to_folder().model_dump(mode="json")
    preview = await Previewer(place.bus, place.changer, "d")._answer(
        PreviewAsked(target=target, instance=instance, series_uid=SERIES).model_dump_json().encode(), is_busy=True
    )
    test = await Answerer(place.bus, place.changer, place.changer)._answer(
        TargetTestAsked(slug="folder").model_dump_json().encode(), is_busy=True
    )
    picture = await Picturer(place.bus, place.changer, "d")._answer(
        ThumbnailAsked(instance=instance).model_dump_json().encode(), is_busy=True
    )
    assert isinstance(preview, Preview)
    assert isinstance(test, TargetTested)
    assert isinstance(picture, Thumbnail)
    for words in (preview.reason, test.steps[0].detail, picture.reason):
        assert words.startswith("too many")
