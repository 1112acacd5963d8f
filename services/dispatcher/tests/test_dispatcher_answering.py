"""Questions to the dispatcher: beyond so many of a kind each is refused in words."""

from typing import Any

import pytest

from hermes_common.previews import Preview, PreviewAsked
from hermes_common.targettests import TargetTestAsked, TargetTested
from hermes_common.thumbnails import Thumbnail, ThumbnailAsked
from hermes_dispatcher.handlers.picturing import Picturer
from hermes_dispatcher.handlers.previewing import Previewer
from hermes_dispatcher.handlers.testing import Answerer

from .conftest import SERIES

pytestmark = pytest.mark.servers


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
