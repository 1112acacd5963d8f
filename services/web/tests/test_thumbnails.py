"""Small pictures: who may see them, what is said where there is none, and what browsers may keep."""

import asyncio
import re
import xml.etree.ElementTree as ET
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from sqlalchemy import create_engine, text

from hermes_common.manifest import ManifestInstance
from hermes_common.runtime.bus import Bus
from hermes_common.thumbnails import ASK, NoPicture, Thumbnail, ThumbnailAsked
from hermes_web.adapters import thumbnails
from hermes_web.adapters.thumbnails import Thumbnails
from hermes_web.features.thumbnails.placeholder import placeholder
from hermes_web.web import Web

from .conftest import SAMPLES

SERIES = SAMPLES["SERIES"]
RECEPTION = f"{1:032x}"
PNG = b"\x89PNG\r\n\x1a\n a picture"
API = f"/api/v1/series/{SERIES}"


class Dispatcher:
    """Answers on the bus as a dispatcher does."""

    def __init__(self) -> None:
        self.asked: list[ManifestInstance] = []
        self.answer = Thumbnail(png=PNG)
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def reply(self, message: Msg) -> None:
        self.asked.append(ThumbnailAsked.model_validate_json(message.data).instance)
        await self.may_answer.wait()
        await message.respond(self.answer.model_dump_json().encode())


@pytest.fixture
async def dispatcher(bus: Bus) -> Dispatcher:
    made = Dispatcher()
    await bus.nc.subscribe(ASK, cb=made.reply)
    await bus.nc.flush()
    return made


def words(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.headers["cache-control"] == "no-store"
    return " ".join(" ".join(ET.fromstring(answer.text).itertext()).split())  # noqa: S314  # it is our own


@pytest.mark.servers
async def test_pages_and_api_show_the_picture_that_a_dispatcher_makes_and_ask_once(
    viewer: Any, api: httpx.AsyncClient, make_ledger: Any, dispatcher: Dispatcher, browser: Any
) -> None:
    make_ledger()
    page = (await viewer.get(f"/series/{SERIES}")).text
    links = re.findall(r'<img class="picture" src="([^"]+)"', page)
    assert links == [f"/series/{SERIES}/picture", *(f"/series/{SERIES}/pictures/{n:032x}" for n in range(3))]
    for path in (*links, f"{API}/thumbnail", f"{API}/instances/{RECEPTION}/thumbnail"):
        found = await (viewer if not path.startswith("/api") else api).get(path)
        assert (found.status_code, found.headers["content-type"], found.content) == (200, "image/png", PNG), path
        assert found.headers["cache-control"] == "private, no-cache", "the browser asks before it shows it again"
    (asked,) = dispatcher.asked  # the samples have one digest, and a digest has one picture
    assert asked.key == "k1"
    kept = await api.get(f"{API}/thumbnail", headers={"if-none-match": f'"other", W/{found.headers["etag"]}'})
    assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", found.headers["etag"])
    for path in links:
        assert (await browser().get(path)).status_code == 303  # to the form for signing in
    for path in (f"/api/v1/series/1.2.3/instances/{RECEPTION}/thumbnail", f"{API}/instances/x/thumbnail"):
        assert (await api.get(path)).status_code == 404
    assert (await viewer.get(f"/series/{SERIES}/pictures/x")).status_code == 404


@pytest.mark.servers
async def test_without_a_picture_the_page_says_why_and_keeps_nothing_that_may_change(
    viewer: Any, api: httpx.AsyncClient, make_ledger: Any, dispatcher: Dispatcher, database_url: str
) -> None:
    make_ledger()
    for count, (why, status) in enumerate(
        [(NoPicture.UNAVAILABLE, 503), (NoPicture.DAMAGED, 404), (NoPicture.GONE, 404), (NoPicture.NO_IMAGE, 404)]
    ):
        dispatcher.answer = Thumbnail(why_not=why, reason=f"reason <{why}> & more")
        assert f"reason <{why}> & more" in words(await viewer.get(f"/series/{SERIES}/picture"))
        said = await api.get(f"{API}/thumbnail")
        assert (said.status_code, said.json()["detail"]) == (status, f"reason <{why}> & more")
        kept = why is NoPicture.NO_IMAGE
        assert len(dispatcher.asked) == 2 * count + (1 if kept else 2)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger.series SET state = 'deleted' WHERE series_uid = :uid"), {"uid": SERIES})
    engine.dispose()
    assert "were deleted" in words(await viewer.get(f"/series/{SERIES}/picture"))


@pytest.mark.servers
async def test_a_picture_that_a_browser_has_kept_is_not_confirmed_once_names_are_masked_again(
    admin: Any, web: Web, make_ledger: Any, dispatcher: Dispatcher
) -> None:
    make_ledger()
    web.settings.patient_names = "administrators"
    path = f"/series/{SERIES}/picture"
    assert "names of patients are masked" in words(await admin.get(path))
    assert (await admin.post("/account/names", {"show": "yes", "reason": "ticket 12"})).status_code == 303
    shown = await admin.get(path)
    assert (shown.content, shown.headers["vary"]) == (PNG, "cookie")
    kept = {"if-none-match": shown.headers["etag"]}
    assert (await admin.get(path, headers=kept)).status_code == 304
    assert (await admin.post("/account/names", {"show": "no"})).status_code == 303
    assert "names of patients are masked" in words(await admin.get(path, headers=kept))


@pytest.mark.servers
async def test_without_a_dispatcher_that_is_what_is_said(viewer: Any, make_ledger: Any) -> None:
    make_ledger()
    assert "no dispatcher is running" in words(await viewer.get(f"/series/{SERIES}/picture"))


@pytest.mark.servers
async def test_a_policy_switches_pictures_off_on_pages_and_in_the_api(
    admin: Any, api: httpx.AsyncClient, make_ledger: Any, dispatcher: Dispatcher
) -> None:
    make_ledger()
    policies = (await admin.get("/policies")).text
    assert '<option value="yes" selected>' in policies[policies.index('name="thumbnails"') :].partition("</select>")[0]
    form = {"revision": "0", "thumbnails": "no", "why": "burned-in names"}
    assert (await admin.post("/policies", form)).status_code == 303
    page = (await admin.get(f"/series/{SERIES}")).text
    assert "<img class" not in page
    assert "Small pictures are switched off" in page
    assert "switched off" in words(await admin.get(f"/series/{SERIES}/picture"))
    assert (await api.get(f"{API}/thumbnail")).status_code == 409
    assert dispatcher.asked == []


@pytest.mark.servers
async def test_whoever_masks_names_sees_no_picture_as_a_name_may_be_burned_in(
    viewer: Any, make_ledger: Any, dispatcher: Dispatcher
) -> None:
    make_ledger()
    viewer.http.cookies.set("hermes-view", "system.utc.masked", domain="hermes.test")
    page = (await viewer.get(f"/series/{SERIES}")).text
    assert "<img class" not in page
    assert "Pictures are hidden while names of patients are masked" in page
    assert "masked" in words(await viewer.get(f"/series/{SERIES}/picture"))
    assert dispatcher.asked == []


def instance(number: int) -> ManifestInstance:
    return ManifestInstance(
        sop_instance_uid="1.2", sop_class_uid="1.2", transfer_syntax_uid="1.2", key="k", digest=f"{number:064x}",
        octets=1, reception_id="r",
    )  # fmt: skip


@pytest.mark.servers
async def test_several_who_want_the_same_picture_ask_once_and_the_oldest_is_forgotten(
    bus: Bus, dispatcher: Dispatcher
) -> None:
    kept = Thumbnails(bus, most=3 * (len(PNG) + 500))
    dispatcher.may_answer.clear()
    waiting = [asyncio.create_task(kept.get(instance(1))) for _ in range(5)]
    while not dispatcher.asked:
        await asyncio.sleep(0.01)
    waiting[0].cancel()  # one of them goes away; the others still get it
    dispatcher.may_answer.set()
    assert [found.png for found in await asyncio.gather(*waiting[1:])] == [PNG] * 4
    assert len(dispatcher.asked) == 1
    for number in (2, 3, 1, 4, 1, 3, 2):
        await kept.get(instance(number))
    assert [int(asked.digest) for asked in dispatcher.asked] == [1, 2, 3, 4, 2]


@pytest.mark.servers
async def test_why_there_is_no_picture_is_kept_for_a_while_and_a_picture_for_good(
    bus: Bus, dispatcher: Dispatcher
) -> None:
    dispatcher.answer = Thumbnail(why_not=NoPicture.UNREADABLE, reason="decoding it took longer than 10 s")
    brief, long = Thumbnails(bus, reasons=-1.0), Thumbnails(bus)
    for kept, count in ((brief, 2), (long, 3)):
        assert [(await kept.get(instance(1))).why_not for _ in range(2)] == [NoPicture.UNREADABLE] * 2
        assert len(dispatcher.asked) == count
    dispatcher.answer = Thumbnail(png=PNG)
    assert [(await brief.get(instance(1))).png for _ in range(2)] == [PNG] * 2
    assert len(dispatcher.asked) == 4


@pytest.mark.servers
async def test_who_waits_too_long_for_a_turn_is_told_so(
    bus: Bus, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "WAIT", 0.2)
    monkeypatch.setattr(thumbnails, "AT_ONCE", 1)
    kept = Thumbnails(bus)
    dispatcher.may_answer.clear()
    found = await asyncio.gather(kept.get(instance(1)), kept.get(instance(2)))
    assert {one.why_not for one in found} == {NoPicture.UNAVAILABLE}
    dispatcher.may_answer.set()
    monkeypatch.setattr(thumbnails, "WAIT", 30.0)
    assert (await kept.get(instance(1))).png == PNG


def test_a_placeholder_is_an_image_whatever_the_reason_holds() -> None:
    for reason in ("", "x" * 5000, "<script>alert(1)</script> \x00\x1b\u202e]]>&amp;", "\ud800", "no image: RT Plan"):
        root = ET.fromstring(placeholder(reason).decode())  # noqa: S314  # it is our own
        assert {element.tag.rpartition("}")[2] for element in root.iter()} == {"svg", "title", "rect", "text"}
