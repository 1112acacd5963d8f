"""News for pages, on a real bus."""

import asyncio
import json
from datetime import timedelta

import pytest

from hermes_common import subjects
from hermes_common.events import DeliverySucceeded, SeriesDeleted
from hermes_common.news import Recorded
from hermes_common.runtime.clock import now
from hermes_web.adapters import live as adapter
from hermes_web.adapters.live import Heard, Live, read
from hermes_web.core.search import Search
from hermes_web.errors import UnavailableError
from hermes_web.features.live import controllers
from hermes_web.features.live.controllers import _news, next_looks
from hermes_web.features.series.queries import count_news

UID = "1.2.826.0.1.3680043.2.1125.1"


@pytest.fixture
async def live(bus):
    stopping = asyncio.Event()
    made = Live(bus)
    running = asyncio.create_task(made.run(stopping))
    await bus.nc.flush()
    await asyncio.sleep(0.1)
    yield made
    stopping.set()
    await asyncio.wait_for(running, 5)


def deleted(uid):
    return SeriesDeleted(series_uid=uid, objects=1, octets=1, reason="")


async def test_a_page_hears_of_its_series_and_of_no_other(bus, live) -> None:
    with live.listen(UID) as mine, live.listen() as all_of_it:
        await bus.publish(deleted("1.2.3"))
        assert await all_of_it.wait(5)
        assert not await mine.wait(0.3)
        delivery = DeliverySucceeded(
            series_uid=UID, delivery_id="d", batch_id="b", target="pacs", attempt=1, instances=1
        )
        await bus.publish(delivery)
        assert await mine.wait(5)


async def test_pages_are_let_go_at_the_end_and_there_are_never_too_many(bus, monkeypatch) -> None:
    monkeypatch.setattr(adapter, "MOST", 1)
    stopping = asyncio.Event()
    live = Live(bus)
    running = asyncio.create_task(live.run(stopping))
    with live.listen() as page:
        with pytest.raises(UnavailableError), live.listen():
            pass
        waiting = asyncio.create_task(page.wait(30))
        await asyncio.sleep(0)
        stopping.set()
        await asyncio.wait_for(waiting, 5)
        assert live.is_over
    await asyncio.wait_for(running, 5)


async def test_news_are_said_once_however_often_nothing_changes(bus, live) -> None:
    answers = iter(['{"count": 1}', '{"count": 1}', '{"count": 2}'])

    async def news():
        return next(answers)

    said = []
    stream = _news(live, None, news)
    async for message in stream:
        if message.event == "news":
            said.append(message.data)
            await bus.publish(deleted(UID))
        elif not said:
            await bus.publish(deleted(UID))
        if len(said) == 2:
            break
    await stream.aclose()
    assert [json.loads(data)["count"] for data in said] == [1, 2]


async def test_a_page_is_told_when_the_history_has_what_concerns_it(bus, live) -> None:
    async def told(**recorded) -> None:
        await bus.tell(subjects.RECORDED, Recorded(**recorded).model_dump_json().encode())
        await bus.nc.flush()
        await asyncio.sleep(0.05)

    with live.listen(UID) as mine, live.listen() as everything, live.listen(instances=True) as the_list:
        for recorded, expected in (
            ({"series": (UID,), "instances_only": True}, (True, False, True)),
            ({"series": ("1.2.3",), "instances_only": True}, (False, False, True)),
            ({"series": ("1.2.3",)}, (False, True, True)),
            ({"series": ("1.2.3",), "more": True}, (True, True, True)),
            ({}, (False, True, True)),
        ):
            await told(**recorded)
            heard = [await page.wait(0) for page in (mine, everything, the_list)]
            assert [each == Heard.RECORDED for each in heard] == list(expected), recorded
        await bus.tell(subjects.RECORDED, b"{")  # of a release that says something else
        await told(series=(UID,))
        assert await mine.wait(5) == Heard.RECORDED


async def test_news_do_not_wait_for_the_history_once_it_is_said_to_have_them(bus, live, monkeypatch) -> None:
    monkeypatch.setattr(controllers, "AGAIN", (30.0, 60.0))
    monkeypatch.setattr(controllers, "SETTLE", 30.0)

    async def news():
        return '{"count": 1}'

    stream = _news(live, None, news)
    await anext(stream)
    message = asyncio.ensure_future(anext(stream))
    await bus.publish(deleted(UID))
    done, _ = await asyncio.wait({message}, timeout=0.5)
    assert not done, "it was said, but the history may not have it"
    await bus.tell(subjects.RECORDED, Recorded(series=(UID,)).model_dump_json().encode())
    assert (await asyncio.wait_for(message, 10)).event == "news"
    await stream.aclose()


@pytest.mark.parametrize(
    ("heard", "looks", "expected"),
    [
        (Heard.SAID, [], [100.7, 102.0, 106.0]),
        (Heard.SAID, [100.1, 101.4, 105.4], [100.1, 102.0, 106.0]),  # put off by what comes later, it would never be
        (Heard.RECORDED, [], [100.0]),
        (Heard.RECORDED, [100.3, 101.6, 105.6], [100.0, 105.6]),
        (Heard.RECORDED, [100.6], [100.0]),  # nobody looks twice within a while
        (Heard.SAID | Heard.RECORDED, [100.6], [100.0, 106.0]),  # what was said may be in the history only later
        (Heard.NOTHING, [100.0, 105.6], [100.0, 105.6]),
    ],
)
def test_when_the_history_is_looked_at(heard, looks, expected) -> None:
    assert next_looks(heard, 100.0, 90.0, looks, 0.7) == pytest.approx(expected)


def test_between_two_looks_there_is_a_while_however_much_is_recorded() -> None:
    looks: list[float] = []
    for at in (100.0, 100.1, 100.2):
        looks = next_looks(Heard.RECORDED, at, 99.9, looks, 0.7)
        assert looks == pytest.approx([100.6])


async def test_a_page_to_which_nothing_is_news_hears_a_sign_of_life_all_the_same(bus, live, monkeypatch) -> None:
    monkeypatch.setattr(controllers, "BEAT", 0.5)
    recorded = Recorded(series=("1.2.3",), instances_only=True).model_dump_json().encode()
    looked = 0

    async def news():
        nonlocal looked
        looked += 1
        return '{"count": 0}'

    async def much() -> None:
        while True:
            await bus.tell(subjects.RECORDED, recorded)
            await asyncio.sleep(0.02)

    noise = asyncio.create_task(much())
    stream = _news(live, None, news, instances=True, pause=0.05)
    messages = [await asyncio.wait_for(anext(stream), 10) for _ in range(4)]
    noise.cancel()
    await stream.aclose()
    assert [message.event for message in messages].count("news") == 1, "the count was said once"
    assert [message.comment is not None for message in messages].count(True) == 3
    assert looked > 3


async def test_a_page_is_told_that_the_history_is_away_and_when_it_is_back(bus, live, monkeypatch) -> None:
    monkeypatch.setattr(controllers, "AGAIN", (0.1, 0.2))
    away = True

    async def news():
        if away:
            raise UnavailableError("away")
        return '{"count": 1}'

    stream = _news(live, None, news)
    await anext(stream)
    first = await asyncio.wait_for(anext(stream), 10)
    assert (first.event, json.loads(first.data)) == ("state", {"away": "the history is away"})
    away = False
    said = [await asyncio.wait_for(anext(stream), 10) for _ in range(2)]
    assert {each.event: json.loads(each.data) for each in said} == {"news": {"count": 1}, "state": {"away": ""}}
    await stream.aclose()


async def test_a_page_is_told_that_the_bus_is_away(bus, live, monkeypatch) -> None:
    monkeypatch.setattr(controllers, "AGAIN", (0.1, 0.2))
    monkeypatch.setattr(bus, "problem", lambda: "the bus (NATS) is not connected")
    stream = _news(live, None, controllers._changed)
    await anext(stream)
    message = await asyncio.wait_for(anext(stream), 10)
    assert (message.event, json.loads(message.data)) == ("state", {"away": "the bus is away"})
    await stream.aclose()


async def test_only_what_came_later_is_new(web, make_ledger) -> None:
    make_ledger()
    since = now() - timedelta(hours=1)
    assert await web.database.run(count_news, Search({}), since, 100) == 3
    assert await web.database.run(count_news, Search({}), since, 2) == 2
    assert await web.database.run(count_news, Search({}), now(), 100) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"series_uid": []}', b'{"series_uid": "../x"}', b"null"])
def test_a_message_that_nobody_understands_is_about_no_series(body) -> None:
    assert read("hermes.v1.delivery.started.pacs", body).series is None


async def test_the_address_of_news_answers_pages_only(admin) -> None:
    for path in ("/live/changes", f"/live/changes/{UID}", "/live/series?since=2026-11-24T00:00:00Z"):
        assert (await admin.get(path)).status_code == 400
    accept = {"accept": "text/event-stream"}
    for path in ("/live/series", "/live/series?since=now", "/live/series?since=2026-11-24T00:00:00", "/live/changes/x"):
        assert (await admin.get(path, headers=accept)).status_code in (400, 404)


async def test_the_palette_knows_the_rules_and_targets(admin, viewer) -> None:
    assert (await viewer.get("/palette")).json() == {"items": []}
