"""Manifests and decisions as objects in the store. The store blocks, so it is called in threads."""

import asyncio

from pydantic import BaseModel, ConfigDict

from hermes_common.events import Decision
from hermes_common.keys import decision_key, manifest_key, study_key
from hermes_common.manifest import Manifest
from hermes_common.records import BatchRef
from hermes_common.runtime.objectstore import ObjectStore
from hermes_router.core.rounds import StudyRound

LARGEST = 256 * 1024 * 1024
"""Octets of a manifest or a decision that are read at most: half a million instances."""


class Decisions(BaseModel):
    """The decisions that were taken at one time, by batch."""

    model_config = ConfigDict(frozen=True)

    decisions: list[Decision]


class Documents:
    """Writes and reads them; errors are those of the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def write_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under the key of its batch."""
        key = manifest_key(manifest.series_uid, manifest.batch_id)
        await asyncio.to_thread(self._store.put_bytes, key, manifest.model_dump_json().encode())

    async def manifests(self, batches: tuple[BatchRef, ...]) -> list[Manifest]:
        """Return the manifests of batches, in their order."""
        return [await self._manifest(batch) for batch in batches]

    async def write_decisions(self, series_uid: str, name: str, decisions: list[Decision]) -> str:
        """Store decisions under the id of their batch or command; return the key."""
        key = decision_key(series_uid, name)
        body = Decisions(decisions=decisions).model_dump_json().encode()
        await asyncio.to_thread(self._store.put_bytes, key, body)
        return key

    async def decisions(self, key: str) -> list[Decision]:
        """Return the decisions that were stored under ``key``."""
        body = await asyncio.to_thread(self._store.get_bytes, key, LARGEST)
        return Decisions.model_validate_json(body).decisions

    async def decisions_on(self, batch: BatchRef) -> list[Decision]:
        """Return every decision that was taken on a batch, in their order."""
        keys = [key for key in (batch.decision_key, *batch.more_decisions) if key]
        return [each for key in keys for each in await self.decisions(key) if each.batch_id == batch.batch_id]

    async def write_round(self, found: StudyRound) -> str:
        """Store what was decided on a study; return the key."""
        key = study_key(found.study_uid, found.decision_id)
        await asyncio.to_thread(self._store.put_bytes, key, found.model_dump_json().encode())
        return key

    async def round(self, key: str) -> StudyRound:
        """Return what was decided on a study."""
        body = await asyncio.to_thread(self._store.get_bytes, key, LARGEST)
        return StudyRound.model_validate_json(body)

    async def _manifest(self, batch: BatchRef) -> Manifest:
        body = await asyncio.to_thread(self._store.get_bytes, batch.manifest_key, LARGEST)
        return Manifest.model_validate_json(body)
