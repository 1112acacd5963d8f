"""A store that is too full: what is done goes early, oldest first, and nothing else ever does."""

from typing import Any

import pytest
from cleaner_kit import Place, ago

from hermes_cleaner.adapters.volume import Volume, volume_of
from hermes_cleaner.core.room import Room, blind_spot, describe, excess
from hermes_common import subjects
from hermes_common.config import Watermark
from hermes_common.events import SeriesDeleted, StoreCleaned, StorePressed, StoreRelieved
from hermes_common.records import DeliveryState, SeriesState, WatermarkRecord

pytestmark = pytest.mark.servers


async def look(place: Place) -> WatermarkRecord:
    """Have the watermark looked at now; return what was found."""
    await place.reliever.look(at_once=True)
    loaded = await place.bus.load(subjects.STATE, subjects.CLEANER_WATERMARK, WatermarkRecord)
    assert loaded is not None
    return loaded[0]


async def states(place: Place, *uids: str) -> list[str]:
    return [(await place.record(uid)).state.value for uid in uids]


async def test_what_is_done_goes_oldest_first_until_the_store_is_below_its_limit(place: Place) -> None:
    await place.policy(watermark=Watermark(most=4))
    for uid, hours in (("1.2.1", 3), ("1.2.2", 5), ("1.2.3", 4)):
        await place.series(DeliveryState.SUCCEEDED, uid, done_at=ago(hours=hours))
    found = await look(place)
    assert await states(place, "1.2.1", "1.2.2", "1.2.3") == ["open", "deleted", "open"]
    assert (found.stored, found.removed_series, found.removed_octets) == (4, 1, 2)
    assert found.pressure is not None
    assert not found.pressure.stuck
    [cleaned] = await place.said("store.cleaned")
    assert isinstance(cleaned, StoreCleaned)
    assert (cleaned.series, cleaned.octets, cleaned.examples) == (1, 2, ["1.2.2"])
    [deleted] = await place.said("series.deleted.*")
    assert isinstance(deleted, SeriesDeleted)
    assert "too full" in deleted.reason
    assert (await look(place)).pressure is None
    assert len(await place.said("store.relieved")) == 1


@pytest.mark.parametrize("state", [DeliveryState.FAILED, DeliveryState.SENDING, DeliveryState.RETRYING])
async def test_where_nothing_is_done_nothing_goes_and_that_is_said_once(place: Place, state: DeliveryState) -> None:
    await place.policy(watermark=Watermark(most=1))
    await place.series(state, done_at=ago(days=3650))  # a mark that should not be there does not help
    found = await look(place)
    await look(place)
    assert found.pressure is not None
    assert (found.pressure.stuck, found.pressure.excess) == (True, 1)
    assert place.objects() == 4
    [pressed] = await place.said("store.pressed")
    assert isinstance(pressed, StorePressed)
    assert "nothing more that is done may be removed" in pressed.reason
    await place.delivery(state=DeliveryState.DISMISSED)
    assert (await look(place)).pressure is not None
    assert place.objects() == 0
    await look(place)
    [relieved] = await place.said("store.relieved")
    assert isinstance(relieved, StoreRelieved)
    assert relieved.episode == pressed.episode


async def test_free_space_is_a_limit_of_its_own_and_what_is_done_only_now_stays(place: Place) -> None:
    await place.policy(watermark=Watermark(least_free=1000))
    await place.series(DeliveryState.SUCCEEDED, "1.2.1", done_at=ago(hours=2))
    await place.series(DeliveryState.SUCCEEDED, "1.2.2", done_at=ago(minutes=2))
    place.volume.octets = 999
    found = await look(place)
    assert await states(place, "1.2.1", "1.2.2") == ["deleted", "open"]
    assert found.free == 1001
    place.volume.octets = 500
    assert (await look(place)).pressure is not None
    assert await states(place, "1.2.2") == ["open"]


async def test_a_store_that_frees_late_does_not_lose_everything_to_one_shortage(place: Place) -> None:
    await place.policy(watermark=Watermark(least_free=1000))
    place.volume.frees_late = True
    place.volume.octets = 999
    for uid in ("1.2.1", "1.2.2", "1.2.3"):
        await place.series(DeliveryState.SUCCEEDED, uid, done_at=ago(hours=2))
    await look(place)
    await look(place)
    assert (await states(place, "1.2.1", "1.2.2", "1.2.3")).count("deleted") == 1


async def test_without_a_limit_nothing_is_looked_at_and_nothing_goes(place: Place) -> None:
    await place.policy()
    await place.series(DeliveryState.SUCCEEDED, done_at=ago(days=1))
    place.volume.octets = 0
    assert (await look(place)).looked_at is None
    assert (await place.record()).state is SeriesState.OPEN


async def test_of_all_cleaners_one_looks(place: Place) -> None:
    await place.policy(watermark=Watermark(most=10**9))
    await place.reliever.look()
    loaded = await place.bus.load(subjects.STATE, subjects.CLEANER_WATERMARK, WatermarkRecord)
    await place.reliever.look()
    assert loaded == await place.bus.load(subjects.STATE, subjects.CLEANER_WATERMARK, WatermarkRecord)


@pytest.mark.parametrize(
    ("policy", "room", "expected"),
    [
        ({"most": 100}, Room(150, None), 50),
        ({"least_free": 100}, Room(150, 30), 70),
        ({"most": 100, "least_free": 100}, Room(150, 30), 70),
        ({"most": 100, "least_free": 100}, Room(300, 30), 200),
        ({"least_free": 100}, Room(150, None), 0),
        ({"most": 200, "least_free": 10}, Room(150, 30), 0),
    ],
)
def test_the_larger_of_the_two_limits_says_how_much_has_to_go(
    policy: dict[str, Any], room: Room, expected: int
) -> None:
    assert excess(Watermark(**policy), room) == expected
    assert "the limit is" in describe(Watermark(**policy), room)
    assert bool(blind_spot(Watermark(**policy), room)) is (room.free is None and "least_free" in policy)


def test_free_space_is_seen_for_a_folder_and_where_the_settings_name_a_volume(tmp_path: Any) -> None:
    assert (volume_of(f"file://{tmp_path}/not/yet", "").free() or 0) > 0
    assert (volume_of("s3", str(tmp_path)).free() or 0) > 0
    assert volume_of("s3", str(tmp_path)).frees_late
    assert volume_of("s3", "").free() is None
    assert Volume(None).free() is None
