"""What the store has lost of a series is found again to be deleted, and nothing that was deleted comes back."""

from datetime import timedelta

import pytest
from cleaner_kit import SERIES, STUDY, Place

from hermes_cleaner.handlers import sweeping
from hermes_cleaner.handlers.deleting import Deleter
from hermes_common import keys, subjects
from hermes_common.config import Orphans
from hermes_common.manifest import Manifest
from hermes_common.records import DeliveryState, SeriesState, StudyRecord
from hermes_common.runtime.clock import now
from hermes_common.runtime.documents import StoredDocuments

pytestmark = pytest.mark.servers

KEY = keys.manifest_key(SERIES, "b1")


async def done_series(place: Place) -> Manifest:
    """Make a series that may go, its manifest written as the router does."""
    await place.policy(timedelta(seconds=10))
    await place.series(DeliveryState.SUCCEEDED)
    manifest = Manifest.model_validate_json(place.store.get_bytes(KEY, 10_000))
    await place.documents.write(KEY, manifest)
    return manifest


async def settle(place: Place) -> int:
    """Put back what a router would, without a grace; return how many documents that were."""
    return (await StoredDocuments(place.bus, place.store, timedelta(0)).settle()).restored


async def test_a_deleted_series_does_not_come_back_from_the_copies_of_its_documents(place: Place) -> None:
    await done_series(place)
    await place.retainer.look(SERIES)
    assert place.objects() == 0
    assert await settle(place) == 0
    assert place.objects() == 0
    assert (await place.record()).state is SeriesState.DELETED


async def test_a_series_whose_manifest_the_store_has_lost_is_deleted_with_all_its_objects(place: Place) -> None:
    await done_series(place)
    place.store.delete(KEY)
    await place.retainer.look(SERIES)
    assert place.objects() == 0
    assert len(await place.said("series.deleted.*")) == 1
    assert await settle(place) == 0
    assert place.objects() == 0


async def test_a_crash_between_the_copies_and_the_documents_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done_series(place)

    def crash(name: str) -> None:
        if name == "cleaner.copies-void":
            raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr("hermes_cleaner.handlers.deleting.crash_point", crash)
        with pytest.raises(ConnectionAbortedError):
            await place.retainer.look(SERIES)
    assert place.store.stat(KEY) is not None, "its copy is void, and itself still there"
    assert (await place.record()).state is SeriesState.DELETING
    assert await settle(place) == 0
    await place.retainer.look(SERIES)
    assert place.objects() == 0
    assert (await place.record()).state is SeriesState.DELETED


async def test_what_is_put_back_between_the_listing_and_the_end_of_a_deletion_goes_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done_series(place)
    original = Deleter._documents

    def listed(self: Deleter, folder: str) -> list[str]:
        place.store.delete(KEY)  # the store loses it, and it is put back as soon as the copies are void
        return original(self, folder)

    monkeypatch.setattr(Deleter, "_documents", listed)
    await place.retainer.look(SERIES)
    assert await settle(place) == 0
    assert place.objects() == 0


async def test_copies_of_a_series_that_is_received_again_are_not_void(place: Place) -> None:
    manifest = await done_series(place)
    await place.retainer.look(SERIES)
    newer = keys.manifest_key(SERIES, "b2")
    await place.documents.write(newer, manifest.model_copy(update={"batch_id": "b2"}))
    place.store.delete(newer)
    assert (await place.documents.read(newer, Manifest)).batch_id == "b2"


async def test_what_was_decided_on_a_study_does_not_come_back_when_it_is_forgotten(place: Place) -> None:
    manifest = await done_series(place)
    record = StudyRecord(study_uid=STUDY, series=(SERIES,), opened_at=now(), created_at=now(), updated_at=now())
    await place.bus.create(subjects.STATE, subjects.study_state(STUDY), record)
    await place.documents.write(keys.study_key(STUDY, "d1"), manifest)  # any document
    await place.retainer.look(SERIES)
    assert place.objects("studies/") == 1
    assert await place.retainer.sweep_studies(timedelta(0)) == 1
    assert await settle(place) == 0
    assert place.objects("studies/") == 0


async def test_an_orphan_that_a_sweep_removes_does_not_come_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.policy(orphans=Orphans(remove=True, grace=timedelta(hours=1)))
    await place.series(DeliveryState.SENDING)
    manifest = Manifest.model_validate_json(place.store.get_bytes(KEY, 10_000))
    stray = keys.manifest_key("1.2.9", "b1")
    await place.documents.write(stray, manifest)
    assert (await place.sweeper.sweep(remove=True)).orphans == 1
    monkeypatch.setattr(sweeping, "now", lambda: now() + timedelta(hours=2))
    assert (await place.sweeper.sweep(remove=True)).removed == 1
    assert await settle(place) == 0
    assert place.store.stat(stray) is None


async def test_a_sweep_finds_a_manifest_again_that_the_store_has_lost(place: Place) -> None:
    await done_series(place)
    await place.delivery(state=DeliveryState.QUEUED)
    place.store.delete(KEY)
    found = await place.sweeper.sweep(remove=False)
    assert (found.missing, found.orphans) == (0, 0)
    assert place.store.stat(KEY) is not None
