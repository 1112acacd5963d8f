"""Objects without records and records without objects, on a folder and on a real S3 store."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cleaner_kit import SERIES, Place

from hermes_cleaner.handlers import sweeping
from hermes_common import events, keys, subjects
from hermes_common.config import Orphans
from hermes_common.manifest import Manifest
from hermes_common.records import DeliveryState, SeriesState
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.objectstore import ObjectStore
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.objectstore.s3 import S3Store
from hermes_local.servers.testing import RunningS3

pytestmark = pytest.mark.servers

STRAY = "1.2.9"


@pytest.fixture(params=["folder", "s3"])
async def place(bus: Bus, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    store: ObjectStore
    if request.param == "folder":
        store = DirectoryStore(tmp_path / "store")
    else:
        running: RunningS3 = request.getfixturevalue("running_s3")
        store = S3Store(
            endpoint=running.endpoint,
            access_key=running.access_key,
            secret_key=running.secret_key,
            bucket=f"sweep-{new_id()}",
            secure=False,
        )
    yield Place(bus, store)
    store.close()


def later(monkeypatch: pytest.MonkeyPatch, **span: float) -> None:
    """Set the clock of the sweep forward."""
    monkeypatch.setattr(sweeping, "now", lambda: now() + timedelta(**span))


async def test_an_orphan_is_reported_first_and_goes_only_after_the_grace(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy(orphans=Orphans(remove=True, grace=timedelta(days=2)))
    await place.series(DeliveryState.SENDING)
    stray = place.instance(1, STRAY).key
    document, study = keys.manifest_key(STRAY, "b1"), keys.study_key("9.9", "d1")
    place.store.put_bytes(document, b"{}")
    place.store.put_bytes(study, b"{}")
    place.store.put_bytes(keys.quarantine_key("0" * 32), b"?")
    first = await place.sweeper.sweep(remove=True)
    assert (first.objects, first.orphans, first.missing, first.removed) == (8, 3, 0, 0)
    last = await place.sweeper.last()
    assert last is not None
    assert {each.key: each.why for each in last[1].orphans} == {
        stray: "no record and no event names its series",
        document: "no record and no event names its series",
        study: "its study has no record",
    }
    later(monkeypatch, days=1)
    assert (await place.sweeper.sweep(remove=True)).removed == 0
    later(monkeypatch, days=2, hours=1)
    third = await place.sweeper.sweep(remove=True, actor="anna")
    assert (third.removed, third.orphans, third.actor) == (3, 0, "anna")
    assert place.store.stat(stray) is None
    assert place.objects(f"{SERIES}/") == 3
    assert place.objects("quarantine/") == 1
    assert place.objects("sweeps/") == 1
    assert len(await place.said("store.swept")) == 3


async def test_what_is_on_its_way_to_a_batch_is_no_orphan_however_old(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy()
    item = place.instance(1, STRAY)
    await announce(place, item.key, STRAY)
    await place.series(DeliveryState.SUCCEEDED)
    late = place.instance(7).key
    await announce(place, late, SERIES)
    await place.sweeper.sweep(remove=True)
    later(monkeypatch, days=3650)
    swept = await place.sweeper.sweep(remove=True)
    assert (swept.orphans, swept.removed, swept.missing) == (0, 0, 0)


async def announce(place: Place, key: str, uid: str) -> None:
    event = events.InstanceStored(
        reception_id=new_id().replace("-", ""), association_id="a", series_uid=uid, study_uid="1.2",
        sop_instance_uid=f"{uid}.1", sop_class_uid="1.2", transfer_syntax_uid="1.2", key=key, digest="0" * 64, octets=1,
        received_at=now(), sender=events.Sender(calling_aet="A", called_aet="B", address="127.0.0.1"), tags={},
    )  # fmt: skip
    await place.bus.publish(event)


async def test_an_object_that_was_named_between_two_sweeps_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.policy()
    stray = place.instance(1, STRAY).key
    assert (await place.sweeper.sweep(remove=True)).orphans == 1
    await announce(place, stray, STRAY)
    later(monkeypatch, days=30)
    assert (await place.sweeper.sweep(remove=True)).removed == 0
    assert place.store.stat(stray) is not None


async def test_an_object_that_is_named_while_orphans_are_removed_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy()
    stray = place.instance(1, STRAY).key
    await place.sweeper.sweep(remove=True)
    later(monkeypatch, days=30)
    original = sweeping.Sweeper._find_missing

    async def meanwhile(self: sweeping.Sweeper, found: sweeping.Found) -> None:
        await announce(place, stray, STRAY)
        await original(self, found)

    monkeypatch.setattr(sweeping.Sweeper, "_find_missing", meanwhile)
    assert (await place.sweeper.sweep(remove=True)).removed == 0
    assert place.store.stat(stray) is not None


async def test_instances_that_a_live_record_names_and_the_store_does_not_have_are_reported(place: Place) -> None:
    await place.policy()
    await place.series(DeliveryState.FAILED)
    [batch] = (await place.record()).batches
    manifest = Manifest.model_validate_json(place.store.get_bytes(batch.manifest_key, 10_000))
    place.store.delete(manifest.instances[0].key)
    assert (await place.sweeper.sweep(remove=True)).missing == 1
    place.store.delete(manifest.redundant[0].key)  # it came twice: that one may be gone
    swept = await place.sweeper.sweep(remove=True)
    assert (swept.missing, swept.examples, swept.orphans) == (1, [manifest.instances[0].key], 0)
    place.store.delete(batch.manifest_key)
    swept = await place.sweeper.sweep(remove=True)
    assert batch.manifest_key in swept.examples
    assert (swept.orphans, place.objects(f"{SERIES}/")) == (0, 1)


async def test_what_is_left_of_a_deleted_series_is_an_orphan_and_without_the_policy_it_is_only_reported(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy()
    await place.series(DeliveryState.SUCCEEDED, state=SeriesState.DELETED, batches=())
    for days in (0, 30):
        later(monkeypatch, days=days)
        swept = await place.sweeper.sweep(remove=place.config.policies.orphans.remove)
        assert (swept.orphans, swept.removed) == (4, 0)
    assert (await place.sweeper.sweep(remove=True)).removed == 4


async def test_a_record_that_cannot_be_read_makes_no_orphans(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.policy()
    place.instance(1, STRAY)
    await place.bus.send(f"$KV.{subjects.STATE}.{subjects.series_state(STRAY)}", b'{"of": "another release"}')
    await place.sweeper.sweep(remove=True)
    later(monkeypatch, days=30)
    swept = await place.sweeper.sweep(remove=True)
    assert (swept.orphans, swept.removed) == (0, 0)


async def test_a_sweep_is_made_once_a_day_by_one_cleaner(place: Place) -> None:
    await place.policy()
    await place.sweeper.due()
    await place.sweeper.due()
    assert len(await place.said("store.swept")) == 1
