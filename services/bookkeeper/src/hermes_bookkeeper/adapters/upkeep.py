"""What the ledger needs besides being written: indexes, a new part of the events every month, and the old ones gone."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from pydantic import SecretStr

from hermes_bookkeeper.adapters import partitions
from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.adapters.indexes import build_indexes
from hermes_bookkeeper.core.months import expired
from hermes_bookkeeper.errors import DatabaseUnavailableError, InUseError, RefusedError
from hermes_common.runtime.clock import now

log = logging.getLogger(__name__)

_LOOK = timedelta(minutes=10)
_AGAIN = timedelta(seconds=30)
TRIES = 20
"""Times that a table in use is tried to be had alone, before it is left for the next look."""
PAUSE = timedelta(seconds=2)

T = TypeVar("T")


async def keep_up(url: SecretStr, database: Database, retention: Callable[[], timedelta | None]) -> None:
    """Look after the tables until cancelled. ``retention``: how long events are kept; None while nobody knows."""
    while True:
        try:
            await build_indexes(url)
            await turn_months(database, retention())
            pause = _LOOK
        except (DatabaseUnavailableError, RefusedError) as error:
            log.warning("the tables are looked after later: %s", error)
            pause = _AGAIN
        await asyncio.sleep(pause.total_seconds())


async def turn_months(database: Database, keep: timedelta | None) -> None:
    """Close the present part of the events if its month is over, and drop those kept for longer than ``keep``."""
    closed = await _alone(lambda: database.run(lambda cursor: partitions.close_month(cursor, now())))
    if closed is not None:
        log.info("the events until now are in %s from now on", closed)
    if keep is None:
        return
    for name in expired(await database.run(partitions.parts), keep, now()):
        await _drop(database, name)


async def _alone(work: Callable[[], Awaitable[T]]) -> T:
    """Do what needs a table alone, again and again while others read it, who get in between; InUseError in the end."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(InUseError):
            return await work()
        await asyncio.sleep(PAUSE.total_seconds())
    return await work()


async def _drop(database: Database, name: str) -> None:
    while True:
        moved = await database.run(lambda cursor: partitions.move_open(cursor, name, now()))
        if moved == 0 and await _alone(lambda: database.run(lambda cursor: partitions.drop(cursor, name, now()))):
            log.info("the events in %s were dropped: they were kept for as long as the policies say", name)
            return
