"""Manifests, decisions and rounds: what the router writes into the store, and reads back."""

from pydantic import BaseModel, ConfigDict

from hermes_common.events import Decision
from hermes_common.keys import decision_key, manifest_key, study_key
from hermes_common.manifest import Manifest
from hermes_common.records import BatchRef
from hermes_common.runtime.documents import StoredDocuments
from hermes_router.core.rounds import StudyRound


class Decisions(BaseModel):
    """The decisions that were taken at one time, by batch."""

    model_config = ConfigDict(frozen=True)

    decisions: list[Decision]


class Documents:
    """Writes and reads them; errors are those of the store and of the bus."""

    def __init__(self, stored: StoredDocuments) -> None:
        self._stored = stored

    async def write_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under the key of its batch."""
        key = manifest_key(manifest.series_uid, manifest.batch_id)
        await self._stored.write(key, manifest)

    async def manifests(self, batches: tuple[BatchRef, ...]) -> list[Manifest]:
        """Return the manifests of batches, in their order."""
        return [await self._stored.read(batch.manifest_key, Manifest) for batch in batches]

    async def write_decisions(self, series_uid: str, name: str, decisions: list[Decision]) -> str:
        """Store decisions under the id of their batch or command; return the key."""
        key = decision_key(series_uid, name)
        await self._stored.write(key, Decisions(decisions=decisions))
        return key

    async def decisions(self, key: str) -> list[Decision]:
        """Return the decisions that were stored under ``key``."""
        return (await self._stored.read(key, Decisions)).decisions

    async def decisions_on(self, batch: BatchRef) -> list[Decision]:
        """Return every decision that was taken on a batch, in their order."""
        keys = [key for key in (batch.decision_key, *batch.more_decisions) if key]
        return [each for key in keys for each in await self.decisions(key) if each.batch_id == batch.batch_id]

    async def write_round(self, found: StudyRound) -> str:
        """Store what was decided on a study; return the key."""
        key = study_key(found.study_uid, found.decision_id)
        await self._stored.write(key, found)
        return key

    async def round(self, key: str) -> StudyRound:
        """Return what was decided on a study."""
        return await self._stored.read(key, StudyRound)
