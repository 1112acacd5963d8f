"""Deleting a series: marked in its record first, and every step can be done again.

Objects belong to one reception each (ADR-0002), so those named in the manifests can be removed without looking at what
comes in meanwhile. The manifests go last: while one is there, what it names may still be there too. Their copies on the
bus are made void first (ADR-0032), so that nothing puts back what goes.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from pydantic import ValidationError

from hermes_cleaner.core.retention import unfinished
from hermes_common import subjects
from hermes_common.events import SeriesDeleted
from hermes_common.ids import derived_id
from hermes_common.keys import documents_folder
from hermes_common.manifest import Manifest
from hermes_common.records import DeliveryRecord, SeriesRecord, SeriesState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.errors import ConflictError
from hermes_common.runtime.objectstore import ObjectMissing, ObjectStore

log = logging.getLogger(__name__)


class Records:
    """The live records that the cleaner reads and changes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def series(self, series_uid: str) -> tuple[SeriesRecord, int] | None:
        """Return the record of a series and its revision."""
        return await self._bus.load(subjects.STATE, subjects.series_state(series_uid), SeriesRecord)

    async def all(self) -> AsyncIterator[tuple[SeriesRecord, int] | None]:
        """Yield every record of a series and its revision; None for one that cannot be read, which is logged."""
        async for key, data, revision in self._bus.scan(subjects.STATE, "series.*"):
            try:
                yield SeriesRecord.model_validate_json(data), revision
            except ValidationError as error:
                log.warning("%s cannot be read: %s", key, error)
                yield None

    async def newest(self, series_uid: str) -> int:
        """Return the sequence of the newest reception of a series, 0 if there is none on the bus."""
        return await self._bus.last_sequence(subjects.EVENTS, subjects.instances_of(series_uid))

    async def deliveries(self, record: SeriesRecord) -> list[DeliveryRecord | None]:
        """Return the records of all deliveries of a series, None for one that is missing."""
        found = []
        for batch in record.batches:
            for delivery_id in batch.deliveries:
                key = subjects.delivery_state(delivery_id)
                loaded = await self._bus.load(subjects.STATE, key, DeliveryRecord)
                found.append(None if loaded is None else loaded[0])
        return found

    async def change(self, record: SeriesRecord, revision: int, **changes: object) -> tuple[SeriesRecord, int]:
        """Write a changed record over its revision; return it with the new one."""
        changed = record.model_copy(update={**changes, "updated_at": now()})
        key = subjects.series_state(record.series_uid)
        return changed, await self._bus.update(subjects.STATE, key, changed, revision)


class Deleter:
    """Removes a series that may go."""

    def __init__(self, bus: Bus, store: ObjectStore, documents: StoredDocuments, records: Records) -> None:
        self._bus = bus
        self._store = store
        self._stored = documents
        self._records = records

    async def delete(self, record: SeriesRecord, revision: int, reason: str) -> bool:
        """Remove the objects and records of a series. Errors leave it marked, and the next call goes on.

        Return False if somebody restarted a delivery of it meanwhile: then nothing was removed.
        """
        if record.state is not SeriesState.DELETING:
            record, revision = await self._records.change(record, revision, state=SeriesState.DELETING, sealed=False)
            crash_point("cleaner.marked")
        if not record.sealed:
            if await self._was_restarted(record):
                await self._records.change(record, revision, state=SeriesState.OPEN, done_at=None)
                return False
            record, revision = await self._records.change(record, revision, sealed=True)
            crash_point("cleaner.sealed")
        manifests = await self._manifests(record)
        items = [item for manifest in manifests for item in manifest.receptions()]
        keys = [item.key for item in items]
        await asyncio.to_thread(self._delete, keys)
        crash_point("cleaner.objects-deleted")
        if len(manifests) == len(record.batches):
            event = SeriesDeleted(
                series_uid=record.series_uid,
                study_uid=record.study_uid,
                objects=len(keys),
                octets=sum(item.octets for item in items),
                reason=reason,
            )
            await self._bus.publish(event, derived_id("deleted", record.series_uid, str(record.through_seq)))
            crash_point("cleaner.said")
        await self._forget_documents(record.series_uid, revision)
        crash_point("cleaner.documents-deleted")
        for batch in record.batches:
            for delivery_id in batch.deliveries:
                await self._forget(subjects.delivery_state(delivery_id))
        over = {"state": SeriesState.DELETED, "sealed": False, "batches": (), "commands": (), "done_at": None}
        await self._records.change(record, revision, **over)
        log.info("series %s: %d objects deleted: %s", record.series_uid, len(keys), reason)
        return True

    def _delete(self, keys: list[str]) -> None:
        middle = len(keys) // 2
        self._store.delete_many(keys[:middle])
        crash_point("cleaner.half-deleted")
        self._store.delete_many(keys[middle:])

    async def _was_restarted(self, record: SeriesRecord) -> bool:
        """Whether a person restarted a delivery between our look and our mark (the dispatcher looks the other way)."""
        return unfinished(record, await self._records.deliveries(record)) is not None

    async def _manifests(self, record: SeriesRecord) -> list[Manifest]:
        """Return the manifests that are still there; one that is gone had all its objects removed before it."""
        manifests = []
        for batch in record.batches:
            with contextlib.suppress(ObjectMissing):
                manifests.append(await self._stored.read(batch.manifest_key, Manifest))
        return manifests

    async def _forget_documents(self, series_uid: str, revision: int) -> None:
        """Remove what is listed, if the record is still as we left it: new ones can only be written once it is not."""
        folder = documents_folder(series_uid)
        through = await self._stored.newest()
        listed = await asyncio.to_thread(self._documents, folder)
        loaded = await self._records.series(series_uid)
        if loaded is None or loaded[1] != revision:
            raise ConflictError(f"series {series_uid}: somebody else has ended its deletion")
        await self._stored.forget(folder, through)
        crash_point("cleaner.copies-void")
        await asyncio.to_thread(self._store.delete_many, listed)

    def _documents(self, folder: str) -> list[str]:
        return [info.key for info in self._store.list(f"{folder}/")]

    async def _forget(self, key: str) -> None:
        loaded = await self._bus.load(subjects.STATE, key, DeliveryRecord)
        if loaded is not None:
            with contextlib.suppress(ConflictError):
                await self._bus.forget(subjects.STATE, key, loaded[1])
