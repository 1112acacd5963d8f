"""Watching series become done, and letting them go when their retention has passed."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from pydantic import ValidationError

from hermes_cleaner.core.retention import Delete, Keep, Nothing, Wait, judge
from hermes_cleaner.handlers.deleting import Deleter, Records
from hermes_common import subjects
from hermes_common.events import (
    ConfigChanged,
    DeliveryCancelled,
    DeliveryCommitted,
    DeliveryDismissed,
    DeliverySucceeded,
    SeriesCompleted,
    SeriesDiscarded,
    SeriesUnmatched,
    StudyCompleted,
    decode,
)
from hermes_common.ids import token_uid
from hermes_common.keys import study_folder
from hermes_common.manifest import Manifest
from hermes_common.records import SeriesRecord, SeriesState, StudyRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Consumer, Done, Message, Outcome, RetryAfter
from hermes_common.runtime.documents import StoredDocuments
from hermes_common.runtime.errors import ConflictError
from hermes_common.runtime.objectstore import ObjectMissing, ObjectStore

log = logging.getLogger(__name__)

EVENTS = Consumer(
    stream=subjects.EVENTS,
    durable="cleaner",
    subjects=(
        "hermes.v1.series.completed.*",
        "hermes.v1.series.unmatched.*",
        "hermes.v1.series.discarded.*",
        "hermes.v1.delivery.succeeded.*",
        "hermes.v1.delivery.cancelled.*",
        "hermes.v1.delivery.dismissed.*",
        "hermes.v1.config.changed.policies",
    ),
    ack_wait=timedelta(seconds=60),
)

STUDIES = Consumer(
    stream=subjects.EVENTS,
    durable="cleaner-studies",
    subjects=("hermes.v1.study.completed.*",),
    ack_wait=timedelta(seconds=60),
)
"""One of its own, so that a cleaner of an earlier release beside this one does not change what it consumes."""

COMMITMENTS = Consumer(
    stream=subjects.EVENTS,
    durable="cleaner-commitments",
    subjects=("hermes.v1.delivery.committed.*",),
    ack_wait=timedelta(seconds=60),
)

LOOK_AGAIN = timedelta(seconds=5)

DUE = Consumer(
    stream=subjects.TIMERS,
    durable="cleaner-due",
    subjects=("hermes.due.retention.*",),
    ack_wait=timedelta(seconds=120),
    max_ack_pending=64,
)

_ABOUT_A_SERIES = (
    SeriesCompleted,
    SeriesUnmatched,
    SeriesDiscarded,
    DeliverySucceeded,
    DeliveryCancelled,
    DeliveryCommitted,
    DeliveryDismissed,
)


class Retainer:
    """Handles what may make a series done, and the timers of those that are."""

    def __init__(
        self,
        bus: Bus,
        config: ConfigView,
        store: ObjectStore,
        documents: StoredDocuments,
        records: Records,
        deleter: Deleter,
    ) -> None:
        self._bus = bus
        self._config = config
        self._store = store
        self._documents = documents
        self._records = records
        self._deleter = deleter

    async def on_event(self, message: Message) -> Outcome:
        """Look at the series that an event is about."""
        await self._config.loaded.wait()
        event = decode(message.headers, message.data).event
        if isinstance(event, ConfigChanged):
            await self._config.refresh()
            await self.look_at_all()
            return Done()
        if isinstance(event, StudyCompleted):
            return await self._look_at_study(event.study_uid)
        if isinstance(event, SeriesCompleted) and event.duplicates:
            await self._remove_redundant(event.manifest_key)
        if isinstance(event, _ABOUT_A_SERIES):
            return await self.look(event.series_uid)
        return Done()

    async def on_due(self, message: Message) -> Outcome:
        """Look at a series whose retention may have passed."""
        await self._config.loaded.wait()
        return await self.look(token_uid(message.subject.rsplit(".", 1)[-1]))

    async def look(self, series_uid: str) -> Outcome:
        """Judge a series now, and do what follows."""
        loaded = await self._records.series(series_uid)
        if loaded is None:
            return Done()
        record, revision = loaded
        deliveries = await self._records.deliveries(record)
        newest = await self._records.newest(series_uid)
        match judge(record, deliveries, newest, self._config.policies.retention, now()):
            case Nothing():
                return Done()
            case Keep(reason=reason, passes=True):
                return RetryAfter(LOOK_AGAIN, reason)
            case Keep(since=since):
                if record.done_at != since:
                    await self._records.change(record, revision, done_at=since)
                return Done()
            case Wait(until=until, since=since):
                if record.done_at != since:
                    await self._records.change(record, revision, done_at=since)
                timer, due = subjects.retention_timer(series_uid), subjects.retention_due(series_uid)
                await self._bus.arm_after(timer, due, until)
                return Done()
            case Delete(reason):
                await self._deleter.delete(record, revision, reason)
                return Done()

    async def _look_at_study(self, study_uid: str) -> Outcome:
        """Judge every series of a study: its decision was the last thing that some of them waited for."""
        loaded = await self._bus.load(subjects.STATE, subjects.study_state(study_uid), StudyRecord)
        again: Outcome = Done()
        for series_uid in () if loaded is None else loaded[0].series:
            outcome = await self.look(series_uid)
            again = outcome if isinstance(outcome, RetryAfter) else again
        return again

    async def look_at_all(self) -> None:
        """Judge every series, because the policies changed."""
        for key in await self._bus.keys(subjects.STATE, "series.*"):
            try:
                outcome = await self.look(token_uid(key.removeprefix("series.")))
            except (ConflictError, ValidationError) as error:
                log.warning("%s is looked at when something happens to it: %s", key, error)
                continue
            if isinstance(outcome, RetryAfter):
                log.info("%s is being worked on; the events to come will be looked at", key)

    async def sweep(self, older_than: timedelta) -> int:
        """Forget deleted series whose events have left the bus too; return how many."""
        count = 0
        for key in await self._bus.keys(subjects.STATE, "series.*"):
            try:
                loaded = await self._bus.load(subjects.STATE, key, SeriesRecord)
            except ValidationError as error:
                log.warning("%s cannot be read: %s", key, error)
                continue
            if loaded is None or not _is_over(loaded[0], older_than):
                continue
            try:
                await self._bus.forget(subjects.STATE, key, loaded[1])
                count += 1
            except ConflictError:
                continue
        return count

    async def sweep_studies(self, older_than: timedelta) -> int:
        """Forget studies of which no series is left, with what was decided on them; return how many."""
        count = 0
        for key in await self._bus.keys(subjects.STATE, "study.*"):
            try:
                loaded = await self._bus.load(subjects.STATE, key, StudyRecord)
                if loaded is None or now() - loaded[0].updated_at < older_than or loaded[0].pending is not None:
                    continue
                if not await self._are_gone(loaded[0].series):
                    continue
                folder = study_folder(loaded[0].study_uid)
                through = await self._documents.newest()
                await self._bus.forget(subjects.STATE, key, loaded[1])
            except (ConflictError, ValidationError) as error:
                log.warning("%s stays: %s", key, error)
                continue
            await self._documents.forget(folder, through)
            await asyncio.to_thread(self._remove_decisions, folder)
            count += 1
        return count

    async def _are_gone(self, series_uids: Sequence[str]) -> bool:
        for series_uid in series_uids:
            found = await self._records.series(series_uid)
            if found is not None and found[0].state is not SeriesState.DELETED:
                return False
            newest = await self._records.newest(series_uid)
            if newest > (0 if found is None else found[0].through_seq):
                return False
        return True

    def _remove_decisions(self, folder: str) -> None:
        self._store.delete_many([info.key for info in self._store.list(f"{folder}/")])

    async def _remove_redundant(self, manifest_key: str) -> None:
        """Remove what was received a second time, if the first is there."""
        try:
            manifest = await self._documents.read(manifest_key, Manifest)
        except ObjectMissing:
            return
        for item in manifest.redundant:
            if item.same_as and await asyncio.to_thread(self._store.stat, item.same_as) is not None:
                await asyncio.to_thread(self._store.delete, item.key)


def _is_over(record: SeriesRecord, older_than: timedelta) -> bool:
    return record.state is SeriesState.DELETED and now() - record.updated_at >= older_than
