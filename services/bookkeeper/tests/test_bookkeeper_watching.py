"""What is found by looking: late queues, silent senders, services, disks, quarantine, channels."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hermes_bookkeeper.adapters.fleet import BusFleet
from hermes_bookkeeper.adapters.observing import SqlObserver
from hermes_bookkeeper.core.rhythm import learn
from hermes_bookkeeper.core.watching import Failing, Late, OpenAlert, Seen, Sender, changes
from hermes_bookkeeper.handlers.watching import BEHIND, Watcher
from hermes_common import subjects
from hermes_common.alerting import Alerting, Conditions, Rhythm, Silent
from hermes_common.config import Targets
from hermes_common.events import AlertCleared, AlertRaised
from hermes_common.room import Room, Volume
from hermes_common.runtime.errors import BusUnavailableError
from hermes_common.runtime.roomkeeping import answer_room

NOW = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)  # a Wednesday
USUAL = Conditions()


def said(seen: Seen, conditions: Conditions = USUAL) -> list[tuple[str, str, str]]:
    """Return what is raised (+) and cleared (-), by kind and about."""
    return [
        ("+" if isinstance(say.event, AlertRaised) else "-", say.event.kind, say.event.about)
        for say in changes(seen, conditions)
    ]


def working_hours(weeks: int, every: timedelta = timedelta(minutes=40)) -> list[datetime]:
    """Return visits on weekdays from 8 to 17 o'clock, up to last night."""
    chance, found = random.Random(4), []
    day = (NOW - timedelta(weeks=weeks)).replace(hour=0, minute=0)
    while day < NOW.replace(hour=0, minute=0):
        at = day.replace(hour=8)
        while day.weekday() < 5 and at.hour < 17:
            found.append(at + timedelta(minutes=chance.randint(0, 19)))
            at += every
        day += timedelta(days=1)
    return found


def test_a_scanner_of_working_hours_is_missed_in_the_morning_and_not_at_night_or_on_a_weekend():
    rhythm = learn(working_hours(4), "UTC")
    assert rhythm is not None
    friday = datetime(2026, 2, 27, 16, 50, tzinfo=UTC)
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    assert rhythm.missed(friday, monday.replace(hour=7)) < 1.5, "a weekend adds nothing"
    assert rhythm.missed(friday, monday.replace(hour=8, minute=30)) < 3
    assert rhythm.missed(friday, monday.replace(hour=14)) > 7


def test_the_hours_of_the_week_are_those_of_the_time_zone():
    rhythm = learn(working_hours(4), "Asia/Tokyo")
    assert rhythm is not None
    assert rhythm.rates[0 * 24 + 20] > 0.5, "11 o'clock on a Monday is 20 o'clock there"
    assert rhythm.rates[0 * 24 + 11] == 0


@pytest.mark.parametrize(
    "visits",
    [
        [],
        working_hours(1),
        [NOW - timedelta(days=20), NOW],
        [NOW - timedelta(days=20)] + [NOW + timedelta(minutes=n) for n in range(60)],
    ],
    ids=["none", "a week", "two", "two days"],
)
def test_of_too_little_nothing_is_learned(visits):
    assert learn(visits, "UTC") is None


def silent(last: datetime, **more: Any) -> Seen:
    return Seen(NOW, senders=[Sender("CT1", last, learn(working_hours(4), "UTC"))], **more)


def test_a_sender_that_is_silent_beyond_its_rhythm_raises_an_alert_that_is_over_when_it_sends():
    tuesday = NOW - timedelta(days=1)
    assert said(silent(tuesday)) == [("+", "source_silent", "CT1")]
    assert said(silent(NOW - timedelta(hours=18))) == [], "since last night it has missed little"
    assert said(silent(NOW - timedelta(hours=2)), Conditions(silent=Silent(factor=1))) == [], "four hours at least"
    opened = [OpenAlert("a", "source_silent", "CT1")]
    assert said(silent(tuesday, open_alerts=opened)) == [], "said once"
    [over] = changes(silent(NOW, open_alerts=opened), USUAL)
    assert (over.event.verb, over.event.reason) == ("cleared", "it sends again")
    assert said(silent(tuesday, open_alerts=opened), Conditions(silent=Silent(learned=False))) == [
        ("-", "source_silent", "CT1")
    ]


def test_what_is_set_by_hand_goes_before_what_was_learned():
    by_hand = Silent(senders=(Rhythm(calling_aet="CT1", after="30m"), Rhythm(calling_aet="MR1", after=None)))
    last = NOW - timedelta(minutes=31)
    rhythm = learn(working_hours(4), "UTC")
    seen = Seen(NOW, senders=[Sender("CT1", last), Sender("MR1", NOW - timedelta(days=2), rhythm), Sender("US1", last)])
    assert said(seen, Conditions(silent=by_hand)) == [("+", "source_silent", "CT1")]


def test_a_queue_is_late_unless_its_target_is_down():
    late = Seen(NOW, late=[Late("pacs", 37, NOW - timedelta(hours=2))])
    [raised] = changes(late, USUAL)
    assert "37 deliveries to pacs have waited for more than 30 min, the oldest for 2 h" in raised.event.message
    down = OpenAlert("d", "target_down", "pacs")
    assert said(replace(late, open_alerts=[down])) == []
    assert said(replace(late, open_alerts=[down, OpenAlert("q", "queue_late", "pacs")])) == [
        ("-", "queue_late", "pacs")
    ]
    assert said(late, Conditions(queue_age=None)) == []


def test_a_service_is_missing_after_its_time_and_nothing_is_concluded_before():
    opened = [OpenAlert("m", "service_missing", "router")]

    def seen(seconds: float, alerts: Any = ()) -> Seen:
        return Seen(NOW, silence_of_services={"router": timedelta(seconds=seconds)}, open_alerts=alerts)

    assert said(seen(61)) == [("+", "service_missing", "router")]
    assert said(seen(59)) == []
    assert said(seen(59, opened)) == [], "another bookkeeper has waited for longer"
    assert said(seen(0, opened)) == [("-", "service_missing", "router")]
    assert said(Seen(NOW, open_alerts=opened)) == [], "nobody was asked"


def rooms(pending: int = 0, free: int = 50) -> list[Room]:
    volume = Volume(what="spool", free=free, total=100)
    return [Room(service="receiver", host="h1", spool_pending=pending, spool_limit=100, volumes=[volume])]


def test_a_spool_and_a_disk_that_fill_raise_alerts_which_end_only_with_some_room_to_spare():
    assert said(Seen(NOW, rooms=rooms(80))) == [("+", "spool_filling", "receiver on h1")]
    assert said(Seen(NOW, rooms=rooms(0, 10))) == [("+", "disk_filling", "spool on h1")]
    opened = [OpenAlert("s", "spool_filling", "receiver on h1"), OpenAlert("d", "disk_filling", "spool on h1")]
    assert said(Seen(NOW, rooms=rooms(78, 12), open_alerts=opened)) == []
    assert said(Seen(NOW, rooms=[], open_alerts=opened)) == [], "a receiver that does not answer says nothing"
    assert {sign for sign, *_ in said(Seen(NOW, rooms=rooms(76, 14), open_alerts=opened))} == {"-"}


def test_quarantine_and_failing_channels_are_said():
    seen = Seen(NOW, quarantined={"CT1": 3}, failing=[Failing("mail", 4, "send: refused")])
    assert said(seen) == [("+", "quarantined", "CT1"), ("+", "channel_failing", "mail")]
    assert said(seen, Conditions(quarantine=4)) == [("+", "channel_failing", "mail")]


def test_two_that_look_at_the_same_time_say_the_same_and_the_next_time_is_another_alert():
    seen = Seen(NOW, quarantined={"CT1": 3})
    [first], [second] = changes(seen, USUAL), changes(seen, USUAL)
    assert (first.id, first.event) == (second.id, second.event)
    [third] = changes(replace(seen, counts={("quarantined", "CT1"): 1}), USUAL)
    assert third.id != first.id


class Fleet:
    """A fleet of the test."""

    def __init__(self) -> None:
        self.services = {"receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web"}
        self.lag = 0
        self.found: list[Room] = []

    async def present(self) -> set[str]:
        return self.services

    async def rooms(self) -> list[Room]:
        return self.found

    async def behind(self) -> int:
        return self.lag


def associations(query, aet: str, times: list[datetime]) -> None:
    for number, at in enumerate(times):
        query(
            "INSERT INTO ledger.associations (association_id, state, calling_aet, instances, opened_at, closed_at, "
            "last_seq) VALUES (%s, 'closed', %s, 1, %s, %s, 1)",
            *(f"{aet}-{number}", aet, at, at + timedelta(seconds=5)),
        )


def delivery(query, name: str, target: str, queued: datetime, priority: str = "normal", state: str = "queued") -> None:
    query(
        "INSERT INTO ledger.deliveries (delivery_id, series_uid, study_uid, batch_id, target, state, priority, rules, "
        "instances, octets, queued_at, updated_at, last_seq) "
        "VALUES (%s, '1', '1', 'b', %s, %s, %s, '[]', 1, 1, %s, %s, 1)",
        *(name, target, state, priority, queued, queued),
    )


def target(slug: str, **more: Any) -> dict[str, Any]:
    return {"kind": "folder", "slug": slug, "name": slug, "path": "/x", **more}


@pytest.mark.servers
async def test_the_history_is_read_as_it_is(bus, database, query):
    associations(query, "CT1", working_hours(4))
    old = NOW - timedelta(hours=1)
    delivery(query, "d1", "pacs", old)
    delivery(query, "d2", "pacs", old, priority="off_peak")
    delivery(query, "d3", "pacs", NOW)
    delivery(query, "d4", "paused", old)
    delivery(query, "d5", "again", old)
    query(
        "INSERT INTO ledger.events (id, seq, type, subject, source, time, delivery_id, data, recorded_at) "
        "VALUES ('e', 1, 'hermes.v1.delivery.restarted', 's', 's', %s, 'd5', '{}', %s)",
        *(NOW, NOW),
    )
    query(
        "INSERT INTO ledger.quarantine (reception_id, association_id, key, reason, status, octets, calling_aet, "
        "received_at, seq) VALUES ('q', 'a', 'k', 'r', 1, 1, 'MR1', %s, 1)",
        NOW - timedelta(minutes=59),
    )
    documents = [target("pacs"), target("paused", enabled=False), target("again")]
    targets = Targets.model_validate({"targets": documents})
    fleet = Fleet()
    watcher = Watcher(SqlObserver(database), fleet, bus, lambda: (Alerting(), targets), lambda: NOW)
    says = await watcher.tick()
    found = sorted((say.event.kind, say.event.about) for say in says)
    assert found == [("quarantined", "MR1"), ("queue_late", "pacs")]
    assert "1 delivery to pacs" in next(say.event.message for say in says if say.event.kind == "queue_late")
    published = [message async for message in bus.read(subjects.EVENTS, "hermes.v1.alert.raised", 0)]
    assert len(published) == 2
    fleet.lag = BEHIND + 1
    assert await watcher.tick() == [], "the tables are behind"


@pytest.mark.servers
async def test_a_silent_sender_is_found_in_the_history_and_is_over_when_it_sends(bus, database, query, books, stream):
    associations(query, "CT1", working_hours(4))
    times = iter([NOW + timedelta(hours=4), NOW + timedelta(hours=4), NOW + timedelta(hours=5)])
    clock = {"now": next(times)}
    watcher = Watcher(SqlObserver(database), Fleet(), bus, lambda: (Alerting(), Targets()), lambda: clock["now"])
    [raised] = await watcher.tick()
    assert (raised.event.kind, raised.event.about) == ("source_silent", "CT1")
    message = stream.say(raised.event, raised.id)
    await books.record(_facts([message]))
    assert await watcher.tick() == [], "open already"
    associations(query, "CT1 ", [NOW + timedelta(hours=4, minutes=50)])
    clock["now"] = NOW + timedelta(hours=5)
    [over] = await watcher.tick()
    assert isinstance(over.event, AlertCleared)
    assert over.event.alert_id == raised.event.alert_id


def _facts(messages):
    from hermes_bookkeeper.core.facts import read

    return [read(item.subject, item.headers, item.data, item.sequence) for item in messages]


@pytest.mark.servers
async def test_room_is_asked_of_everybody_over_the_bus(bus):
    async def lag(_) -> int:
        raise TimeoutError("no answer")

    fleet = BusFleet(bus, lag)
    assert await fleet.rooms() == []
    kept = [
        asyncio.create_task(answer_room(bus, lambda host=host: rooms()[0].model_copy(update={"host": host})))
        for host in ("h1", "h2")
    ]
    try:
        for _ in range(20):
            found = await fleet.rooms()
            if len(found) == 2:
                break
        assert sorted(room.host for room in found) == ["h1", "h2"]
        with pytest.raises(BusUnavailableError, match="how far the books are"):
            await fleet.behind()
        assert await fleet.present() == set()
    finally:
        for task in kept:
            task.cancel()
        await asyncio.gather(*kept, return_exceptions=True)
