"""``/live``: server-sent events for the pages that are open; ``/palette``: what Ctrl-K can go to."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from litestar import get
from litestar.params import FromPath
from litestar.response import ServerSentEvent, ServerSentEventMessage

from hermes_common.ids import check_uid
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_web.adapters.live import Heard, Live
from hermes_web.core.roles import VIEWER
from hermes_web.core.search import parse_search
from hermes_web.errors import MalformedError, UnavailableError, WebError
from hermes_web.features.series.queries import count_news
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

LONGEST = 600
"""Seconds; then the browser asks again, and who may not any longer is refused."""
BEAT = 15.0
"""Seconds between signs of life."""
SETTLE = 0.7
"""Seconds from an event until the history usually has it, where nobody says when."""
PAUSE = 0.7
SHORT_PAUSE = 0.3
"""Seconds between two looks at least; the short ones are for what is cheap: a count, the page of one series."""
AGAIN = (2.0, 6.0)
"""Seconds after which it is looked again, for a history that is late; also for what happened while a page loaded."""
MOST_NEWS = 99

_OPTIONS = {**VIEWER, "live": True}


@get("/live/series", opt=_OPTIONS, include_in_schema=False)
async def series_news(request: HttpRequest) -> ServerSentEvent:
    """Say how many series that fit ``q`` have come or changed since ``since``."""
    _check(request)
    search = parse_search(request.query_params.get("q", ""))
    since = _instant(request.query_params.get("since", ""))
    web = web_of(request)

    async def count() -> str | None:
        found = await web.database.run(count_news, search, since, MOST_NEWS + 1)
        return f'{{"count": {min(found, MOST_NEWS)}, "more": {"true" if found > MOST_NEWS else "false"}}}'

    return _stream(web.live, None, count, instances=True, pause=SHORT_PAUSE)


@get("/live/changes", opt=_OPTIONS, include_in_schema=False)
async def changes(request: HttpRequest) -> ServerSentEvent:
    """Say when anything has changed."""
    _check(request)
    return _stream(web_of(request).live, None, _changed)


@get("/live/changes/{uid:str}", opt=_OPTIONS, include_in_schema=False)
async def changes_of_series(request: HttpRequest, uid: FromPath[str]) -> ServerSentEvent:
    """Say when something about one series has changed."""
    _check(request)
    return _stream(web_of(request).live, check_uid(uid), _changed, pause=SHORT_PAUSE)


@get("/palette", opt=VIEWER, include_in_schema=False)
async def palette(request: HttpRequest) -> dict[str, list[dict[str, str]]]:
    """Return the rules and targets that can be gone to."""
    web = web_of(request)
    found = []
    try:
        _, rules = await web.rules()
        _, targets = await web.targets()
    except (TransientError, WebError) as error:
        raise UnavailableError("The configuration cannot be read now") from error
    found += [{"text": rule.name, "kind": "rule", "link": f"/rules/{rule.slug}"} for rule in rules.rules]
    found += [{"text": item.name, "kind": "target", "link": f"/targets/{item.slug}"} for item in targets.targets]
    return {"items": found}


async def _changed() -> str | None:
    return "{}"


def _check(request: HttpRequest) -> None:
    if "text/event-stream" not in request.headers.get("accept", ""):
        raise MalformedError("this address is for pages: it answers with text/event-stream only")


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("since is no instant") from error
    if found.tzinfo is None:
        raise MalformedError("since has no time zone")
    return found


def _stream(
    live: Live,
    series_uid: str | None,
    news: Callable[[], Awaitable[str | None]],
    *,
    instances: bool = False,
    pause: float = PAUSE,
) -> ServerSentEvent:
    messages = _news(live, series_uid, news, instances=instances, pause=pause)
    return ServerSentEvent(messages, headers={"x-accel-buffering": "no"})


async def _news(
    live: Live,
    series_uid: str | None,
    news: Callable[[], Awaitable[str | None]],
    *,
    instances: bool = False,
    pause: float = PAUSE,
) -> AsyncIterator[ServerSentEventMessage]:
    """Yield news as soon as the history has some, and a sign of life in between."""
    clock = asyncio.get_running_loop().time
    end = clock() + LONGEST
    with live.listen(series_uid, instances=instances) as listener:
        yield ServerSentEventMessage(comment="live", retry=3000)
        last: str | None = None
        told, is_history_away = "", False
        looked = clock() - pause
        spoken = clock()
        looks = [clock() + seconds for seconds in AGAIN]
        while not live.is_over and clock() < end:
            heard = await listener.wait(max(0.0, min([spoken + BEAT, *looks[:1]]) - clock()))
            if live.is_over:
                return
            if (away := live.problem() or ("the history is away" if is_history_away else "")) != told:
                told, spoken = away, clock()
                yield _state(away)
            if clock() - spoken >= BEAT:  # also where much is heard of and nothing of it is news
                spoken = clock()
                yield ServerSentEventMessage(comment=now().isoformat())
            looks = next_looks(heard, clock(), looked, looks, pause)
            if not looks or clock() < looks[0]:
                continue
            looked = clock()
            looks = looks[1:]
            try:
                data = await news()
            except UnavailableError:
                is_history_away = True
                looks = [clock() + AGAIN[0]]
                continue
            if is_history_away:
                is_history_away = False
                listener.wake()  # to say so
            if data is not None and (data != last or data == "{}"):
                last, spoken = data, clock()
                yield ServerSentEventMessage(data=data, event="news")


def _state(away: str) -> ServerSentEventMessage:
    """Return what tells a page why it may miss something; empty: it does not any longer."""
    return ServerSentEventMessage(data=json.dumps({"away": away}), event="state")


def next_looks(heard: Heard, at: float, looked: float, looks: list[float], pause: float) -> list[float]:
    """Return when to look at the history, in order, after something was heard ``at`` that time; all in seconds.

    What was said is looked for again later, also where something else was recorded beside it.
    """
    if heard == Heard.NOTHING:
        return looks
    if Heard.RECORDED in heard:
        soon = max(at, looked + pause)
        later = [at + AGAIN[-1]] if Heard.SAID in heard else looks[-1:]
        return [soon, *(look for look in later if look >= soon + pause)]
    return [min([at + SETTLE, *looks[:1]]), *(at + seconds for seconds in AGAIN)]
