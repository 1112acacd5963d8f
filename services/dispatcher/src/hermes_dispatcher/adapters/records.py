"""The live records of deliveries on the bus, and a hold on one of them for as long as an attempt lasts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from hermes_common import subjects
from hermes_common.records import DeliveryRecord, DeliveryState, SeriesRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.errors import BusUnavailableError, ConflictError
from hermes_dispatcher.adapters import traces

T = TypeVar("T")

PATIENCE = timedelta(seconds=120)
"""How long outcomes are kept while the bus is away, before the attempt is given up and they are forgotten."""


class FencedError(Exception):
    """Somebody else has changed the record: whoever held it must stop at once and say nothing more."""


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the bus takes it: what a target has said is not to be forgotten over a short outage."""
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while True:
        try:
            return await call()
        except BusUnavailableError:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(0.5)


class Deliveries:
    """Loads and changes records, always by compare-and-set."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def load(self, delivery_id: str) -> tuple[DeliveryRecord, int] | None:
        """Return a record and its revision, or None."""
        return await self._bus.load(subjects.STATE, subjects.delivery_state(delivery_id), DeliveryRecord)

    async def series(self, series_uid: str) -> SeriesRecord | None:
        """Return the record of a series, or None."""
        found = await self._bus.load(subjects.STATE, subjects.series_state(series_uid), SeriesRecord)
        return None if found is None else found[0]

    async def change(self, record: DeliveryRecord, revision: int) -> int:
        """Write ``record`` over ``revision`` and return the new one; ConflictError if it is not the last.

        A write whose answer was lost and that is made again is no conflict: what is there is what was to be written.
        """
        written = await self.note(record, revision)
        traces.ended(record)
        return written

    async def note(self, record: DeliveryRecord, revision: int) -> int:
        """Do as :meth:`change` with what does not concern whether the delivery has come to its end."""
        try:
            return await self._bus.update(subjects.STATE, subjects.delivery_state(record.delivery_id), record, revision)
        except ConflictError:
            found = await self.load(record.delivery_id)
            if found is not None and found[0] == record:
                return found[1]
            raise


class Hold:
    """A record whose lease is ours. ``owner`` is unique to this hold."""

    def __init__(self, deliveries: Deliveries, record: DeliveryRecord, revision: int, owner: str) -> None:
        self._deliveries = deliveries
        self.record = record
        self._revision = revision
        self.owner = owner

    async def write(self, record: DeliveryRecord) -> None:
        """Make ``record`` so, with patience; :class:`FencedError` if the delivery is not ours any more."""
        self._revision = await patiently(lambda: self._written(record))
        self.record = record

    async def _written(self, record: DeliveryRecord) -> int:
        try:
            return await self._deliveries.change(record, self._revision)
        except ConflictError as error:
            return await self._again(record, error)

    async def _again(self, record: DeliveryRecord, error: ConflictError) -> int:
        """Write over a revision that we do not know but whose lease is ours: an earlier answer was lost."""
        found = await self._deliveries.load(record.delivery_id)
        if found is None or found[0].state is not DeliveryState.SENDING or _owner(found[0]) != self.owner:
            raise FencedError(f"delivery {record.delivery_id} was changed by somebody else") from error
        try:
            return await self._deliveries.change(record, found[1])
        except ConflictError as again:
            raise FencedError(f"delivery {record.delivery_id} was changed by somebody else") from again


def _owner(record: DeliveryRecord) -> str:
    return "" if record.lease is None else record.lease.owner
