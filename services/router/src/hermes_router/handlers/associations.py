"""Which associations are closed: a hint that nothing more of their series is to come.

Every router listens for itself, outside of any consumer: what it misses costs the rest of a quiet period, no more.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from hermes_common import subjects
from hermes_common.events import AssociationClosed, MalformedEventError, UnknownEventError, decode
from hermes_common.runtime.bus import Bus

log = logging.getLogger(__name__)

MOST_CLOSED = 10_000
MOST_OPEN = 1_000
MOST_SERIES = 200
"""Series that are remembered of one association."""

T = TypeVar("T")


class Associations(Generic[T]):
    """What came over associations that are open, until they are closed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._open: OrderedDict[str, OrderedDict[str, T]] = OrderedDict()
        self._listener: Callable[[T], Awaitable[None]] | None = None

    def on_closed(self, listener: Callable[[T], Awaitable[None]]) -> None:
        """Have ``listener`` called with what had come over an association that was closed."""
        self._listener = listener

    def add(self, association_id: str, series_uid: str, item: T) -> bool:
        """Remember what came of a series, the last of it; return whether the association is closed already."""
        if association_id in self._closed:
            return True
        series = self._open.setdefault(association_id, OrderedDict())
        series[series_uid] = item
        series.move_to_end(series_uid)
        if len(series) > MOST_SERIES:
            series.popitem(last=False)
        self._open.move_to_end(association_id)
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return False

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._bus.ready()
        subscription = await self._bus.nc.subscribe(subjects.ASSOCIATION_CLOSED)
        async for message in subscription.messages:
            try:
                event = decode(message.headers, message.data).event
            except (MalformedEventError, UnknownEventError) as error:
                log.warning("an association was closed, but the event cannot be read: %s", error)
                continue
            if isinstance(event, AssociationClosed):
                await self.closed(event.association_id)

    async def closed(self, association_id: str) -> None:
        """Take note that an association is closed."""
        self._closed[association_id] = None
        if len(self._closed) > MOST_CLOSED:
            self._closed.popitem(last=False)
        for item in self._open.pop(association_id, OrderedDict()).values():
            if self._listener is not None:
                await self._listener(item)
