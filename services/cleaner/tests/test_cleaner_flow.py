"""The cleaner on a real bus and a real folder."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hermes_cleaner.handlers import retaining
from hermes_cleaner.handlers.deleting import Deleter
from hermes_common import config, events, keys, subjects
from hermes_common.manifest import Manifest, ManifestInstance
from hermes_common.records import BatchRef, DeliveryRecord, DeliveryState, SeriesRecord, SeriesState, StudyRecord
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import new_id, now
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.consumer import Message
from hermes_common.runtime.errors import ConflictError
from hermes_common.runtime.objectstore.directory import DirectoryStore

pytestmark = pytest.mark.servers

SERIES = "1.2.3"


class Place:
    """A cleaner with a series of three instances, one of them redundant."""

    def __init__(self, bus: Bus, store: DirectoryStore) -> None:
        self.bus = bus
        self.store = store
        self.config = ConfigView(bus)
        self.retainer = retaining.Retainer(bus, self.config, store)
        self.delivery_id = new_id()

    async def series(self, delivered: DeliveryState, **more: Any) -> None:
        items = [self.instance(number) for number in range(3)]
        items[2] = items[2].model_copy(update={"same_as": items[1].key})
        manifest = Manifest(
            batch_id="b1", batch=1, series_uid=SERIES, study_uid="1.2", instances=items[:2], redundant=items[2:],
            through_seq=0, first_received_at=now(), last_received_at=now(),
        )  # fmt: skip
        key = keys.manifest_key(SERIES, "b1")
        self.store.put_bytes(key, manifest.model_dump_json().encode())
        batch = BatchRef(
            batch_id="b1", batch=1, manifest_key=key, decision_key="", instances=2, octets=2, through_seq=0,
            outcome="routed", deliveries=(self.delivery_id,), decided_at=now(), said=True,
        )  # fmt: skip
        record = SeriesRecord(
            series_uid=SERIES, study_uid="1.2", batches=(batch,), created_at=now(), updated_at=now(), **more
        )
        await self.bus.create(subjects.STATE, subjects.series_state(SERIES), record)
        delivery = DeliveryRecord(
            delivery_id=self.delivery_id, series_uid=SERIES, study_uid="1.2", batch_id="b1", target="a",
            manifest_key=key, instances=2, octets=2, state=delivered, created_at=now(), updated_at=now(),
        )  # fmt: skip
        await self.bus.create(subjects.STATE, subjects.delivery_state(self.delivery_id), delivery)

    def instance(self, number: int) -> ManifestInstance:
        reception = new_id().replace("-", "")
        key = keys.instance_key(SERIES, f"1.2.3.{number}", "0" * 64, reception)
        self.store.put_bytes(key, b"x")
        return ManifestInstance(
            sop_instance_uid=f"1.2.3.{number}", sop_class_uid="1.2", transfer_syntax_uid="1.2", key=key,
            digest="0" * 64, octets=1, reception_id=reception,
        )  # fmt: skip

    async def delivery(self, **changes: object) -> None:
        key = subjects.delivery_state(self.delivery_id)
        loaded = await self.bus.load(subjects.STATE, key, DeliveryRecord)
        assert loaded is not None
        await self.bus.update(subjects.STATE, key, loaded[0].model_copy(update=changes), loaded[1])

    async def record(self) -> SeriesRecord:
        loaded = await self.bus.load(subjects.STATE, subjects.series_state(SERIES), SeriesRecord)
        assert loaded is not None
        return loaded[0]

    def objects(self) -> int:
        return len(list(self.store.list("")))

    async def policy(self, retention: timedelta) -> None:
        document = config.Policies(retention=config.Retention(delivered=retention))
        value = config.Revision(
            kind=config.Kind.POLICIES, revision=1, author="t", time=now(), document=document.model_dump(mode="json")
        )
        await self.bus.send(f"$KV.{subjects.CONFIG}.policies", value.model_dump_json().encode())
        await self.config.refresh()


@pytest.fixture
async def place(bus: Bus, tmp_path: Path) -> AsyncIterator[Place]:
    store = DirectoryStore(tmp_path / "store")
    yield Place(bus, store)
    store.close()


async def test_a_delivered_series_is_deleted_after_its_retention_and_says_so(place: Place) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)
    await place.retainer.look(SERIES)
    assert place.objects() == 0
    assert (await place.record()).state is SeriesState.DELETED
    key = subjects.delivery_state(place.delivery_id)
    assert await place.bus.load(subjects.STATE, key, DeliveryRecord) is None
    [message] = [m async for m in place.bus.read(subjects.EVENTS, "hermes.v1.series.deleted.1-2-3", 0)]
    event = events.decode(message.headers, message.data).event
    assert isinstance(event, events.SeriesDeleted)
    assert event.objects == 3


async def test_a_series_that_is_done_waits_with_a_timer_and_a_shorter_policy_shortens_it(place: Place) -> None:
    await place.policy(timedelta(days=7))
    await place.series(DeliveryState.SUCCEEDED)
    await place.retainer.look(SERIES)
    assert (await place.record()).done_at is not None
    assert await place.bus.last_sequence(subjects.TIMERS, subjects.retention_timer(SERIES)) > 0
    assert place.objects() == 4


async def test_a_failed_delivery_keeps_the_images(place: Place) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.FAILED)
    await place.retainer.look(SERIES)
    assert place.objects() == 4
    await place.delivery(state=DeliveryState.DISMISSED)
    await place.retainer.look(SERIES)
    assert place.objects() == 0


async def test_a_restart_between_the_look_and_the_mark_stops_the_deletion(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)
    original = Deleter._was_restarted

    async def restarted_just_now(self: Deleter, record: SeriesRecord) -> bool:
        await place.delivery(state=DeliveryState.QUEUED)
        return await original(self, record)

    monkeypatch.setattr(Deleter, "_was_restarted", restarted_just_now)
    await place.retainer.look(SERIES)
    assert place.objects() == 4
    assert (await place.record()).state is SeriesState.OPEN


@pytest.mark.parametrize("step", ["_manifests", "_forget_documents", "_forget"])
async def test_a_crash_in_the_middle_of_a_deletion_is_made_good(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)

    def crash(*_: object) -> None:
        raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Deleter, step, crash)
        with pytest.raises(ConnectionAbortedError):
            await place.retainer.look(SERIES)
    assert (await place.record()).state is SeriesState.DELETING
    await place.retainer.look(SERIES)
    assert place.objects() == 0
    assert (await place.record()).state is SeriesState.DELETED
    ids = {m.headers["ce-id"] async for m in place.bus.read(subjects.EVENTS, "hermes.v1.series.deleted.1-2-3", 0)}
    assert len(ids) == 1


async def test_what_came_twice_is_removed_at_once_if_the_first_is_there(place: Place) -> None:
    await place.series(DeliveryState.QUEUED)
    await place.retainer._remove_redundant(keys.manifest_key(SERIES, "b1"))
    assert place.objects() == 3


async def test_what_came_twice_is_kept_if_the_first_is_missing(place: Place) -> None:
    await place.series(DeliveryState.QUEUED)
    [batch] = (await place.record()).batches
    manifest = Manifest.model_validate_json(place.store.get_bytes(batch.manifest_key, 10_000))
    place.store.delete(manifest.instances[1].key)
    await place.retainer._remove_redundant(batch.manifest_key)
    assert place.store.stat(manifest.redundant[0].key) is not None


async def test_deleted_series_are_forgotten_when_their_events_have_left_the_bus(place: Place) -> None:
    await place.series(DeliveryState.SUCCEEDED, state=SeriesState.DELETED)
    assert await place.retainer.sweep(timedelta(days=1)) == 0
    assert await place.retainer.sweep(timedelta(seconds=0)) == 1
    assert await place.bus.load(subjects.STATE, subjects.series_state(SERIES), SeriesRecord) is None


async def test_a_restart_is_seen_also_when_the_look_after_the_mark_was_interrupted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)

    async def interrupted(*_: object) -> bool:
        await place.delivery(state=DeliveryState.QUEUED)
        raise ConnectionAbortedError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Deleter, "_was_restarted", interrupted)
        with pytest.raises(ConnectionAbortedError):
            await place.retainer.look(SERIES)
    await place.retainer.look(SERIES)
    assert place.objects() == 4
    assert (await place.record()).state is SeriesState.OPEN


async def test_a_deleter_that_was_overtaken_leaves_the_documents_of_the_next_batch_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)
    newer = keys.manifest_key(SERIES, "b2")
    original = Deleter._forget_documents

    async def overtaken(self: Deleter, series_uid: str, revision: int) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Deleter, "_forget_documents", original)
            await place.retainer.look(SERIES)
        place.store.put_bytes(newer, b"{}")
        await original(self, series_uid, revision)

    monkeypatch.setattr(Deleter, "_forget_documents", overtaken)
    with pytest.raises(ConflictError):
        await place.retainer.look(SERIES)
    assert place.store.stat(newer) is not None


async def test_a_record_that_cannot_be_read_does_not_stop_the_look_at_all_others(place: Place) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)
    await place.bus.send(f"$KV.{subjects.STATE}.series.0-1", b'{"of": "another release"}')
    await place.retainer.look_at_all()
    assert (await place.record()).state is SeriesState.DELETED


async def study(place: Place, **more: object) -> None:
    record = StudyRecord(study_uid="1.2", series=(SERIES,), opened_at=now(), created_at=now(), updated_at=now())
    await place.bus.create(subjects.STATE, subjects.study_state("1.2"), record.model_copy(update=more))


async def test_the_retention_of_a_series_begins_when_its_study_is_decided(place: Place) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)
    await study(place)
    record = await place.record()
    waiting = tuple(batch.model_copy(update={"awaits_study": True}) for batch in record.batches)
    key = subjects.series_state(SERIES)
    await place.bus.update(subjects.STATE, key, record.model_copy(update={"batches": waiting}), 1)
    await place.retainer.look(SERIES)
    assert place.objects() == 4
    loaded = await place.bus.load(subjects.STATE, key, SeriesRecord)
    assert loaded is not None
    await place.bus.update(subjects.STATE, key, record, loaded[1])
    event = events.StudyCompleted(
        study_uid="1.2", round=1, reason="quiet", series=1, opened_at=now(), outcome="unmatched", revision=1,
        quiet_period=timedelta(seconds=60),
    )  # fmt: skip
    subject, headers, body = events.encode(events.Envelope(id="e1", source="test", time=now(), event=event))
    await place.retainer.on_event(Message(subject, headers, body, 1, 1))
    assert place.objects() == 0


async def test_a_study_is_forgotten_with_its_decisions_when_no_series_of_it_is_left(place: Place) -> None:
    await place.policy(timedelta(seconds=0))
    await place.series(DeliveryState.SUCCEEDED)
    await study(place)
    place.store.put_bytes(keys.study_key("1.2", "d1"), b"{}")
    assert await place.retainer.sweep_studies(timedelta(0)) == 0
    await place.retainer.look(SERIES)
    assert await place.retainer.sweep_studies(timedelta(days=1)) == 0
    assert place.objects() == 1
    assert await place.retainer.sweep_studies(timedelta(0)) == 1
    assert place.objects() == 0
    assert await place.bus.load(subjects.STATE, subjects.study_state("1.2"), StudyRecord) is None
