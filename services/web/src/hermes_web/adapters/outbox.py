"""The outbox: events about users become part of the transaction that they are about, and are published afterwards."""

import asyncio
import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from hermes_common.events import EVENT_TYPES, Event
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.errors import BusUnavailableError
from hermes_web.adapters.database import Database
from hermes_web.adapters.schema import outbox
from hermes_web.errors import UnavailableError

log = logging.getLogger(__name__)

_BATCH = 100
_PAUSE = 2.0


def put(connection: Connection, event: Event) -> None:
    """Add an event to the transaction."""
    row = {"event_id": new_id(), "type": event.type(), "body": event.model_dump(mode="json"), "at": now()}
    connection.execute(insert(outbox).values(**row))


class Outbox:
    """Publishes what lies in the table, under the id it was given, and removes it when the stream has it."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._nudge = asyncio.Event()

    def nudge(self) -> None:
        """Look now: something was committed."""
        self._nudge.set()

    async def run(self) -> None:
        """Publish until cancelled. Twice is possible and counts once; never is not possible."""
        await self._bus.ready()
        while True:
            self._nudge.clear()
            try:
                while await self.drain():
                    pass
            except (BusUnavailableError, UnavailableError) as error:
                log.warning("events about users wait to be published: %s", error)
            try:
                await asyncio.wait_for(self._nudge.wait(), _PAUSE)
            except TimeoutError:
                continue

    async def drain(self) -> int:
        """Publish a batch in its order; return how many there were."""
        rows = await self._database.run(_pending)
        for number, event_id, kind, body, at in rows:
            await self._bus.publish(EVENT_TYPES[kind].model_validate(body), event_id, at)
            await self._database.run(_remove, number)
        return len(rows)


def _pending(connection: Connection) -> list[tuple[int, str, str, dict[str, Any], datetime]]:
    columns = (outbox.c.number, outbox.c.event_id, outbox.c.type, outbox.c.body, outbox.c.at)
    rows = connection.execute(select(*columns).order_by(outbox.c.number).limit(_BATCH))
    return [(row.number, row.event_id, row.type, row.body, row.at) for row in rows]


def _remove(connection: Connection, number: int) -> None:
    connection.execute(delete(outbox).where(outbox.c.number == number))
