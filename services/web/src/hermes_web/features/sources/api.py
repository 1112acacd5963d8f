"""``/api/v1/sources/seen``: who has sent, and whether it still may."""

from typing import cast

from litestar import Controller, get

from hermes_common.config import Kind, Sources
from hermes_common.sources import Caller, Refusal, judge_caller
from hermes_web.core.roles import VIEWER
from hermes_web.features.sources.seen import Seen, seen
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest


class JudgedSender(Seen):
    """A sender, and what the present revision says about it."""

    allowed: bool
    reason: str = ""
    """Why it would be rejected now."""
    source: str | None = None
    """The entry that decides about it; null where the mode does."""


def judged(sources: Sources, sender: Seen) -> JudgedSender:
    """Return a sender with what ``sources`` says about it."""
    judgement = judge_caller(sources, Caller(sender.calling_aet, sender.called_aet, sender.address))
    entry = sources.find(sender.calling_aet, sender.called_aet, sender.address)
    return JudgedSender(
        **sender.model_dump(),
        allowed=not isinstance(judgement, Refusal),
        reason=judgement.words if isinstance(judgement, Refusal) else "",
        source=None if entry is None else entry.slug,
    )


class SeenController(Controller):
    """Senders that were seen."""

    path = "/sources/seen"
    tags = ["sources"]

    @get(opt=VIEWER)
    async def listing(self, request: HttpRequest) -> dict[str, list[JudgedSender]]:
        """Return who asked for an association in the last 30 days, the last one first."""
        web = web_of(request)
        sources = cast(Sources, (await web.config.current(Kind.SOURCES)).parsed())
        return {"items": [judged(sources, sender) for sender in await web.database.run(seen)]}
