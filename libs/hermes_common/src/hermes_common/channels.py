"""Channels of alerts as services ask each other about them: the test of one, made by a bookkeeper, which sends."""

from pydantic import BaseModel, ConfigDict

from hermes_common.ids import Slug
from hermes_common.targettests import Step

ASK_TEST = "hermes.ask.channel.test"
"""Subject of the request; a bookkeeper answers with :class:`ChannelTested`."""


class ChannelTestAsked(BaseModel):
    """A request to send a test over a channel as it is configured."""

    model_config = ConfigDict(frozen=True)

    slug: Slug
    actor: str = ""
    """Who asked; named in the message."""


class ChannelTested(BaseModel):
    """What a test came to; the steps after one that failed were not made."""

    model_config = ConfigDict(frozen=True)

    channel: Slug
    ok: bool
    steps: list[Step]
    bookkeeper: str = ""
    """Who made it."""
