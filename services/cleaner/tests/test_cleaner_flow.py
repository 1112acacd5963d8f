"""The cleaner on a real bus and a real folder."""

from datetime import datetime, timedelta

import pytest
from cleaner_kit import SERIES, Place, ago

from hermes_cleaner.handlers import retaining
from hermes_cleaner.handlers.deleting import Deleter
from hermes_common import events, keys, subjects
from hermes_common.manifest import Manifest
from hermes_common.records import DeliveryRecord, DeliveryState, SeriesRecord, SeriesState, StudyRecord
from hermes_common.runtime import bus as bus_module
from hermes_common.runtime.clock import now
from hermes_common.runtime.consumer import Message
from hermes_common.runtime.errors import ConflictError

pytestmark = pytest.mark.servers


async def test_a_delivered_series_is_deleted_after_its_retention_and_says_so(place: Place) -> None:
    await place.policy(timedelta(seconds=10))
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
    await place.series(DeliveryState.SUCCEEDED, done_at=None)
    await place.retainer.look(SERIES)
    assert (await place.record()).done_at is not None
    assert await place.bus.last_sequence(subjects.TIMERS, subjects.retention_timer(SERIES)) > 0
    assert place.objects() == 4


async def test_a_failed_delivery_keeps_the_images(place: Place) -> None:
    await place.policy(timedelta(seconds=10))
    await place.series(DeliveryState.FAILED)
    await place.retainer.look(SERIES)
    assert place.objects() == 4
    await place.delivery(state=DeliveryState.DISMISSED)
    await place.retainer.look(SERIES)
    assert place.objects() == 4
    await place.change(done_at=ago(minutes=1))
    await place.retainer.look(SERIES)
    assert place.objects() == 0


async def test_a_restart_between_the_look_and_the_mark_stops_the_deletion(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.policy(timedelta(seconds=10))
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
    await place.policy(timedelta(seconds=10))
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
    await place.policy(timedelta(seconds=10))
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
    await place.policy(timedelta(seconds=10))
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
    await place.policy(timedelta(seconds=10))
    await place.series(DeliveryState.SUCCEEDED)
    await place.bus.send(f"$KV.{subjects.STATE}.series.0-1", b'{"of": "another release"}')
    await place.retainer.look_at_all()
    assert (await place.record()).state is SeriesState.DELETED


async def study(place: Place, **more: object) -> None:
    record = StudyRecord(study_uid="1.2", series=(SERIES,), opened_at=now(), created_at=now(), updated_at=now())
    await place.bus.create(subjects.STATE, subjects.study_state("1.2"), record.model_copy(update=more))


async def test_a_series_whose_study_is_not_decided_stays_and_goes_once_it_is(place: Place) -> None:
    await place.policy(timedelta(seconds=10))
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
    await place.policy(timedelta(seconds=10))
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


async def test_the_retention_begins_when_the_deliveries_are_done_and_not_when_the_study_is_decided(
    place: Place,
) -> None:
    await place.policy(timedelta(days=7))
    await place.series(DeliveryState.SUCCEEDED, done_at=None)
    [batch] = (await place.record()).batches
    await place.change(batches=(batch.model_copy(update={"awaits_study": True}),))
    await place.retainer.look(SERIES)
    began = (await place.record()).done_at
    assert began is not None
    await place.change(batches=(batch,))
    await place.retainer.look(SERIES)
    assert await place.bus.armed(subjects.retention_timer(SERIES)) == began + timedelta(days=7)


async def test_a_series_whose_study_will_say_where_it_goes_has_no_retention_until_then(place: Place) -> None:
    await place.policy(timedelta(seconds=10))
    await place.series(DeliveryState.SUCCEEDED)
    [batch] = (await place.record()).batches
    await place.change(batches=(batch.model_copy(update={"awaits_study": True, "deferred": True}),))
    await place.retainer.look(SERIES)
    assert (await place.record()).done_at is None
    assert place.objects() == 4


async def test_a_mark_that_a_wrong_clock_made_far_in_the_future_is_corrected(place: Place) -> None:
    await place.policy(timedelta(days=7))
    await place.series(DeliveryState.SUCCEEDED, done_at=now() + timedelta(days=3650))
    await place.retainer.look(SERIES)
    done_at = (await place.record()).done_at
    assert done_at is not None
    assert done_at <= now()


@pytest.mark.parametrize("behind", [timedelta(hours=1), timedelta(hours=-1)], ids=["behind", "ahead"])
async def test_a_cleaner_whose_clock_is_wrong_looks_again_when_the_retention_has_passed_and_not_all_the_time(
    place: Place, monkeypatch: pytest.MonkeyPatch, behind: timedelta
) -> None:
    """A timer by its own clock would fire at once, again and again, or an hour late."""

    def clock() -> datetime:
        return now() - behind

    monkeypatch.setattr(retaining, "now", clock)
    monkeypatch.setattr(bus_module, "now", clock)
    await place.policy(timedelta(minutes=30))
    await place.series(DeliveryState.SUCCEEDED, done_at=clock())
    await place.retainer.look(SERIES)
    armed = await place.bus.last(subjects.TIMERS, subjects.retention_timer(SERIES))
    assert armed is not None
    at = datetime.fromisoformat(armed.headers["Nats-Schedule"].removeprefix("@at "))
    assert abs(at - now() - timedelta(minutes=30)) < timedelta(minutes=5)
