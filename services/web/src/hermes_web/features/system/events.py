"""The page of events: which types there are and what they say, and the last that were said, as they come."""

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from litestar import get
from sqlalchemy import Connection, func, select, text

from hermes_common.events import EVENT_TYPES
from hermes_common.ledger import MILESTONE, events
from hermes_web.core.roles import VIEWER
from hermes_web.errors import MalformedError, UnavailableError
from hermes_web.features.series.views import EventItem
from hermes_web.http.answers import Page, page
from hermes_web.web import web_of
from hermes_web.web_types import HttpRequest

SHOWN: Final = 50
BACK: Final = 20_000
"""Messages of the stream that are looked through for those: one of a rare type may lie further back."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One type of event."""

    type: str
    says: str
    fields: tuple[str, ...]


@lru_cache(maxsize=1)
def catalogue() -> tuple[Entry, ...]:
    """Return every type of event, by its name."""
    return tuple(
        Entry(name, (inspect.getdoc(model) or "").partition("\n\n")[0].replace("``", ""), tuple(model.model_fields))
        for name, model in sorted(EVENT_TYPES.items())
    )


def last_events(connection: Connection, wanted: str, most: int = SHOWN) -> list[EventItem]:
    """Return the last events of a type, or of all but those of instances that were stored, the newest first."""
    newest = select(func.max(events.c.seq)).scalar_subquery()
    query = select(events).where(events.c.seq > newest - BACK)
    query = query.where(events.c.type == wanted) if wanted else query.where(text(MILESTONE))
    return [
        EventItem.model_validate(row) for row in connection.execute(query.order_by(events.c.seq.desc()).limit(most))
    ]


@get("/system/events", opt=VIEWER, include_in_schema=False)
async def events_page(request: HttpRequest) -> Page:
    """Show the types of events, and the last ones."""
    wanted = request.query_params.get("type", "")
    if wanted and wanted not in EVENT_TYPES:
        raise MalformedError(f"there is no event of the type {wanted[:80]!r}; /system/events lists all")
    try:
        last: list[EventItem] | None = await web_of(request).database.run(last_events, wanted)
    except UnavailableError:
        last = None
    values = {"catalogue": catalogue(), "last": last, "wanted": wanted, "shown": SHOWN, "back": BACK}
    return page(request, "system/events.html", **values)
