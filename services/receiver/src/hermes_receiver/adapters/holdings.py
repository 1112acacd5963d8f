"""What is durably held, by SOP instance UID: in the object store, as the bucket ``hermes_held`` says and the store
confirms, or in the spool (ADR-0011).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from hermes_common import subjects
from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.part10 import MAX_META_LENGTH, PREAMBLE_LENGTH, parse_file_meta
from hermes_common.events import Event, InstanceStored
from hermes_common.records import HeldRecord
from hermes_receiver.adapters.spool import entries_of
from hermes_receiver.core.reception import DamagedEntryError, Note
from hermes_receiver.handlers.ports import Objects, Publisher

_AT_ONCE: Final = 32
_MAX_SCANNED: Final = 50_000
"""Spool entries that are looked at for one request, the newest first."""

Record = TypeVar("Record", bound=BaseModel)


class Records(Protocol):
    """The part of the bus that keeps records."""

    async def load(self, bucket: str, key: str, model: type[Record]) -> tuple[Record, int] | None:
        """Return a record and its revision, or None; raises TransientError."""

    async def send(self, subject: str, body: bytes, headers: None = None) -> int:
        """Publish durably; raises TransientError."""


class IndexingPublisher:
    """Publishes events, and beside each ``instance.stored`` the record of where that instance is.

    Both are acknowledged before an entry is done, so that what was announced can be found.
    """

    def __init__(self, publisher: Publisher, records: Records) -> None:
        self._publisher = publisher
        self._records = records

    async def publish(self, event: Event, event_id: str | None = None, time: datetime | None = None) -> int:
        """Return when the bus has acknowledged; raises TransientError."""
        if not isinstance(event, InstanceStored):
            return await self._publisher.publish(event, event_id, time)
        record = HeldRecord(sop_class_uid=event.sop_class_uid, series_uid=event.series_uid, key=event.key)
        key = subjects.held_instance(event.sop_instance_uid)
        body = record.model_dump_json().encode()
        sequence, _ = await asyncio.gather(
            self._publisher.publish(event, event_id, time), self._records.send(f"$KV.{subjects.HELD}.{key}", body)
        )
        return sequence


class Holdings:
    """Finds instances. Errors of bus and store (TransientError, StoreError) pass: a failure to know is no "no"."""

    def __init__(self, records: Records, objects: Objects, ready: Sequence[Path]) -> None:
        """``ready``: the folders in which instances answered with Success wait for the object store."""
        self._records = records
        self._objects = objects
        self._ready = ready

    async def held(self, instances: Sequence[str]) -> dict[str, str]:
        """Return SOP class by SOP instance of those that are held."""
        found = await self._in_store(instances)
        left = [uid for uid in instances if uid not in found]
        if left:
            found |= await asyncio.to_thread(self._in_spool, frozenset(left))
            left = [uid for uid in left if uid not in found]
            found |= await self._in_store(left)  # what was uploaded between the two looks
        return found

    async def _in_store(self, instances: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for group in _groups(instances, _AT_ONCE):
            classes = await asyncio.gather(*map(self._look_up, group))
            found |= {uid: found_class for uid, found_class in zip(group, classes, strict=True) if found_class}
        return found

    async def _look_up(self, sop_instance: str) -> str | None:
        try:
            loaded = await self._records.load(subjects.HELD, subjects.held_instance(sop_instance), HeldRecord)
        except ValidationError:
            return None
        if loaded is None or await asyncio.to_thread(self._objects.stat, loaded[0].key) is None:
            return None
        return loaded[0].sop_class_uid

    def _in_spool(self, wanted: frozenset[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        waiting = sorted((item for folder in self._ready for item in entries_of(folder)), reverse=True)
        for _, path in waiting[:_MAX_SCANNED]:
            named = _named(path)
            if named is not None and named[0] in wanted:
                found[named[0]] = named[1]
                if len(found) == len(wanted):
                    break
        return found


def _named(path: Path) -> tuple[str, str] | None:
    """Return SOP instance and class of a spool file that was answered with Success; None for anything else."""
    try:
        with path.open("rb") as file:
            meta = parse_file_meta(file.read(PREAMBLE_LENGTH + 4 + MAX_META_LENGTH)).meta
        answered = Note.decode(meta.private_information).status
    except (OSError, NotPart10, DamagedEntryError):
        return None
    return (meta.sop_instance_uid, meta.sop_class_uid) if answered == 0 else None


def _groups(items: Sequence[str], size: int) -> Iterable[list[str]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
