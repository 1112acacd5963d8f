"""Looking through the whole object store: objects that nothing names, and records whose objects are not there.

A sweep changes nothing but what the policies, or a person, have it remove: orphans that an earlier sweep has seen a
grace before. Each is looked at once more, from the record and the stream as they are, before it goes.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, islice

from pydantic import ValidationError

from hermes_cleaner.core.orphans import (
    Kind,
    Place,
    Series,
    is_beyond_grace,
    must_be_there,
    orphan,
    place_of,
    why_orphan,
)
from hermes_cleaner.handlers import turns
from hermes_cleaner.handlers.deleting import Records
from hermes_common import subjects
from hermes_common.cleaning import Orphan, SweepReport
from hermes_common.events import InstanceStored, MalformedEventError, StoreSwept, UnknownEventError, decode
from hermes_common.keys import sweep_key
from hermes_common.manifest import Manifest
from hermes_common.records import SeriesRecord, SeriesState, StudyRecord, SweepRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.crashpoints import crash_point
from hermes_common.runtime.documents import LARGEST, StoredDocuments
from hermes_common.runtime.objectstore import ObjectInfo, ObjectMissing, ObjectStore, StoreError

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
AT_A_TIME = 1000
"""Objects that are taken from the listing at a time."""

MOST_LISTED = 100_000
"""Orphans and missing objects that a report names; more are counted, and looked at by the next sweep."""

EXAMPLES = 20


@dataclass(slots=True)
class Found:
    """What a sweep has found so far."""

    objects: int = 0
    octets: int = 0
    orphans: list[Orphan] = field(default_factory=list)
    more_orphans: int = 0
    orphan_octets: int = 0
    there: Counter[str] = field(default_factory=Counter)
    """Instances of its batches that were listed, for each series."""
    missing: list[str] = field(default_factory=list)
    removed: int = 0
    removed_octets: int = 0


class Sweeper:
    """Looks through the store, by its schedule or when asked."""

    def __init__(
        self, bus: Bus, config: ConfigView, store: ObjectStore, documents: StoredDocuments, records: Records
    ) -> None:
        self._bus = bus
        self._config = config
        self._store = store
        self._documents = documents
        self._records = records
        self._at_work = asyncio.Lock()

    @property
    def is_at_work(self) -> bool:
        """Whether a sweep of this cleaner is under way."""
        return self._at_work.locked()

    async def due(self) -> None:
        """Sweep, if it is due and this cleaner's turn."""
        await self._config.loaded.wait()
        if await turns.take(self._bus, subjects.CLEANER_SWEEP, SweepRecord, EVERY) is not None:
            await self.sweep(remove=self._config.policies.orphans.remove)

    async def sweep(self, *, remove: bool, actor: str = "") -> StoreSwept:
        """Look through the store now; ``remove``: orphans beyond their grace go. Return what was found."""
        await self._config.loaded.wait()
        async with self._at_work:
            at, grace = now(), self._config.policies.orphans.grace
            before = await self._report()
            seen = {each.key: each.first_seen for each in before.orphans}
            found = Found()
            listing = self._store.list("")
            while infos := await asyncio.to_thread(_next, listing):
                await self._look(infos, seen, grace, at, found)
            await self._find_missing(found)
            if remove:
                await self._remove(found, grace)
            return await self._conclude(found, at, actor)

    async def _look(
        self, infos: Sequence[ObjectInfo], seen: dict[str, datetime], grace: timedelta, at: datetime, found: Found
    ) -> None:
        """Take some objects of the listing into account."""
        for place, group in groupby(infos, key=lambda info: place_of(info.key)):
            some = list(group)
            found.objects += len(some)
            found.octets += sum(info.size for info in some)
            series = await self._known(place)
            reasons = await self._why_orphans(place, [info.key for info in some], series)
            found.there[place.uid] += 0 if series is None else sum(info.key in series.sent for info in some)
            for info, why in zip(some, reasons, strict=True):
                if why:
                    found.orphan_octets += info.size
                    self._list_orphan(found, orphan(info.key, info.size, info.modified, why, seen, grace, at))

    @staticmethod
    def _list_orphan(found: Found, one: Orphan) -> None:
        if len(found.orphans) < MOST_LISTED:
            found.orphans.append(one)
        else:
            found.more_orphans += 1

    async def _known(self, place: Place) -> Series | None:
        """Return what is known of the series of a place; None if it is not one of a series."""
        return await self._series(place.uid) if place.kind in (Kind.INSTANCE, Kind.DOCUMENT) else None

    async def _why_orphans(self, place: Place, keys: Sequence[str], series: Series | None) -> list[str]:
        """Return for each of the objects of one place why it is an orphan; empty for one that is none."""
        if series is not None:
            return [why_orphan(place, key, series) for key in keys]
        if place.kind is Kind.STUDY and not await self._is_known_study(place.uid):
            return ["its study has no record"] * len(keys)
        return [""] * len(keys)

    async def _is_known_study(self, study_uid: str) -> bool:
        """Whether there is a record of a study, be it one that cannot be read."""
        try:
            return await self._bus.load(subjects.STATE, subjects.study_state(study_uid), StudyRecord) is not None
        except ValidationError:
            return True

    async def _series(self, series_uid: str) -> Series:
        """Return what names objects of a series: its record, its manifests, and receptions in no batch yet."""
        try:
            loaded = await self._records.series(series_uid)
            record = None if loaded is None else loaded[0]
            manifests = await self._manifests(record)
            pending = await self._pending(series_uid, 0 if record is None else record.through_seq)
        except (ValidationError, ObjectMissing, MalformedEventError, UnknownEventError) as error:
            log.warning("series %s cannot be compared with its objects: %s", series_uid, error)
            return Series(None, unread=True)
        named = {item.key for manifest in manifests for item in manifest.receptions()}
        if record is None and pending:
            return Series(None, unread=True)  # it is being received, and has no batch yet
        sent = {item.key for manifest in manifests for item in manifest.instances}
        return Series(record, named | pending, sent)

    async def _manifests(self, record: SeriesRecord | None) -> list[Manifest]:
        if record is None or record.state is SeriesState.DELETED:
            return []
        return [await self._documents.read(batch.manifest_key, Manifest) for batch in record.batches]

    async def _pending(self, series_uid: str, through_seq: int) -> set[str]:
        keys = set()
        async for stored in self._bus.read(subjects.EVENTS, subjects.instances_of(series_uid), through_seq):
            event = decode(stored.headers, stored.data).event
            if isinstance(event, InstanceStored):
                keys.add(event.key)
        return keys

    async def _find_missing(self, found: Found) -> None:
        """Ask the store itself for the objects of each series of which fewer were listed than are named."""
        async for loaded in self._records.all():
            if loaded is None or loaded[0].state is not SeriesState.OPEN or not loaded[0].batches:
                continue
            record = loaded[0]
            if found.there[record.series_uid] >= sum(batch.instances for batch in record.batches) > 0:
                continue
            try:
                keys = must_be_there(await self._manifests(record))
            except (ObjectMissing, ValidationError) as error:
                keys = [error.key] if isinstance(error, ObjectMissing) else []
            gone = [key for key in keys if await asyncio.to_thread(self._store.stat, key) is None]
            if gone and await self._is_as_it_was(record):
                found.missing += gone
                log.error("series %s: %d objects that it names are not in the store", record.series_uid, len(gone))

    async def _is_as_it_was(self, record: SeriesRecord) -> bool:
        """Whether a series is still what it was when its objects were looked for, so that nothing has deleted them."""
        loaded = await self._records.series(record.series_uid)
        return loaded is not None and loaded[0] == record

    async def _remove(self, found: Found, grace: timedelta) -> None:
        """Remove the orphans that are beyond their grace and are orphans still."""
        kept: list[Orphan] = []
        for one in found.orphans:
            place = place_of(one.key)
            is_over = is_beyond_grace(one, grace, now())
            if is_over and all(await self._why_orphans(place, [one.key], await self._known(place))):
                crash_point("cleaner.orphan")
                if place.kind in (Kind.DOCUMENT, Kind.STUDY):
                    await self._documents.forget_one(one.key)
                await asyncio.to_thread(self._store.delete, one.key)
                found.removed += 1
                found.removed_octets += one.octets
                log.info("orphan %s removed: %s", one.key, one.why)
            else:
                kept.append(one)
        found.orphans = kept

    async def _report(self) -> SweepReport:
        """Return the report of the last sweep; an empty one if there is none, so that every grace begins anew."""
        loaded = await self._bus.load(subjects.STATE, subjects.CLEANER_SWEEP, SweepRecord)
        if loaded is None or not loaded[0].report_key:
            return SweepReport(at=now())
        try:
            body = await asyncio.to_thread(self._store.get_bytes, loaded[0].report_key, LARGEST)
            return SweepReport.model_validate_json(body)
        except (ObjectMissing, ValidationError) as error:
            log.warning("the report of the last sweep cannot be read, so every grace begins anew: %s", error)
            return SweepReport(at=now())

    async def _conclude(self, found: Found, at: datetime, actor: str) -> StoreSwept:
        key = sweep_key(new_id())
        report = SweepReport(at=at, orphans=found.orphans, missing=found.missing[:MOST_LISTED])
        await asyncio.to_thread(self._store.put_bytes, key, report.model_dump_json().encode())
        older: list[str] = []
        numbers = {
            "objects": found.objects,
            "octets": found.octets,
            "orphans": len(found.orphans) + found.more_orphans,
            "orphan_octets": found.orphan_octets - found.removed_octets,
            "missing": len(found.missing),
            "removed": found.removed,
            "removed_octets": found.removed_octets,
        }

        def change(record: SweepRecord) -> SweepRecord:
            older[:] = [record.report_key] if record.report_key else []
            return record.model_copy(update={**numbers, "ended_at": now(), "next_at": now() + EVERY, "report_key": key})

        await turns.note(self._bus, subjects.CLEANER_SWEEP, SweepRecord, change)
        event = StoreSwept(**numbers, examples=found.missing[:EXAMPLES], actor=actor, report_key=key)
        await self._bus.publish(event)
        try:
            await asyncio.to_thread(self._store.delete_many, older)
        except StoreError as error:
            log.warning("the report before stays in the store: %s", error)
        log.info("swept %d objects: %d orphans, %d missing", found.objects, event.orphans, event.missing)
        return event

    async def last(self) -> tuple[SweepRecord, SweepReport] | None:
        """Return what the last sweep came to, None if there was none."""
        loaded = await self._bus.load(subjects.STATE, subjects.CLEANER_SWEEP, SweepRecord)
        return None if loaded is None or loaded[0].ended_at is None else (loaded[0], await self._report())


def _next(listing: Iterator[ObjectInfo]) -> list[ObjectInfo]:
    return list(islice(listing, AT_A_TIME))
