"""A second factor: set up, used, replayed, guessed, lost, and asked of everybody."""

import asyncio
import re
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import text

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_web.web import Web

PASSWORD = "mossy lantern 47 orbit"


def later(secret: str, steps: int) -> str:
    """Return a code that was not used yet: of the present step, or of the next, which is accepted early."""
    return pyotp.TOTP(secret).at(now() + timedelta(seconds=30 * steps))


async def enrol(browser) -> tuple[str, list[str]]:
    """Set a second factor up and return its secret and the recovery codes."""
    assert (await browser.post("/account/second-factor", {"old": PASSWORD})).status_code == 303
    page = (await browser.get("/account/second-factor")).text
    found = re.search(r'class="secret">([A-Z2-7 ]+)<', page)
    assert found is not None
    assert 'src="data:image/svg+xml' in page
    secret = found[1].replace(" ", "")
    answer = await browser.post("/account/second-factor/confirm", {"code": later(secret, -1)})
    codes = re.findall(r"<li>([a-z0-9-]{23})</li>", answer.text)
    assert len(codes) == 10
    return secret, codes


async def half_way(client, name: str = "admin") -> None:
    """Give the right password."""
    answer = await client.sign_in(name)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in/code?next=%2F")


async def is_in(client) -> bool:
    return (await client.get("/account")).status_code == 200


async def test_the_password_alone_is_no_longer_enough_and_a_code_completes_it(admin, browser) -> None:
    secret, _ = await enrol(admin)
    client = browser()
    await half_way(client)
    assert not await is_in(client)
    assert client.cookie is None
    answer = await client.post("/sign-in/code", {"code": later(secret, 0), "next": "/rules"})
    assert answer.headers["location"] == "/rules"
    assert await is_in(client)


async def test_a_code_that_was_used_does_not_sign_anybody_in_again(admin, browser) -> None:
    secret, _ = await enrol(admin)
    first, second = browser(), browser()
    code = later(secret, 0)
    await half_way(first)
    assert (await first.post("/sign-in/code", {"code": code})).status_code == 303
    await half_way(second)
    assert (await second.post("/sign-in/code", {"code": code})).status_code == 401
    assert not await is_in(second)


async def test_of_several_who_use_one_code_at_once_one_comes_in(web: Web, admin, browser) -> None:
    secret, codes = await enrol(admin)
    for code in (later(secret, 0), codes[0]):
        clients = [browser() for _ in range(4)]
        for client in clients:
            await half_way(client)
        lasting = clients[-1]  # a new password step ends the one before it: all use the last one's
        for client in clients[:-1]:
            client.http.cookies.update(lasting.http.cookies)
        answers = await asyncio.gather(*(client.post("/sign-in/code", {"code": code}) for client in clients))
        assert sorted(answer.status_code for answer in answers) == [303, 401, 401, 401]
        await web.database.run(lambda connection: connection.execute(text("DELETE FROM accounts.login_attempts")))


async def test_a_recovery_code_is_good_once_and_is_kept_as_a_hash(web: Web, admin, browser) -> None:
    _, codes = await enrol(admin)
    first, second = browser(), browser()
    await half_way(first)
    assert (await first.post("/sign-in/code", {"code": codes[3].upper().replace("-", " ")})).status_code == 303
    assert "9 codes left" in (await first.get("/account")).text
    await half_way(second)
    assert (await second.post("/sign-in/code", {"code": codes[3]})).status_code == 401
    dump = str(await web.database.run(lambda connection: [
        *connection.execute(text("SELECT * FROM accounts.recovery_codes")),
        *connection.execute(text("SELECT * FROM accounts.second_factors")),
    ]))  # fmt: skip
    assert codes[4] not in dump
    assert codes[4].replace("-", "") not in dump


async def test_the_secret_is_sealed_in_the_database(web: Web, admin) -> None:
    secret, _ = await enrol(admin)
    rows = await web.database.run(lambda c: list(c.execute(text("SELECT secret FROM accounts.second_factors"))))
    assert rows
    assert secret not in str(rows)


async def test_guessing_codes_is_throttled_like_passwords(admin, browser) -> None:
    secret, _ = await enrol(admin)
    client = browser()
    await half_way(client)
    answers = [await client.post("/sign-in/code", {"code": "000000"}) for _ in range(12)]
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) <= 10
    assert statuses[-1] == 429
    assert (await client.post("/sign-in/code", {"code": later(secret, 0)})).status_code == 429


async def test_without_the_password_a_code_is_worth_nothing(admin, browser) -> None:
    secret, _ = await enrol(admin)
    client = browser()
    answer = await client.post("/sign-in/code", {"code": later(secret, 0)})
    assert answer.status_code == 401
    client.http.cookies.set("__Host-hermes-half", "made up", domain="hermes.test")
    assert (await client.post("/sign-in/code", {"code": later(secret, 0)})).status_code == 401
    assert not await is_in(client)


async def test_the_right_password_waits_five_minutes_and_ends_with_a_change_of_it(web: Web, admin, browser) -> None:
    secret, _ = await enrol(admin)
    client = browser()
    await half_way(client)
    old = text("UPDATE accounts.half_sessions SET expires_at = expires_at - interval '5 minutes'")
    await web.database.run(lambda connection: connection.execute(old))
    assert "Sign in with your password again" in (await client.post("/sign-in/code", {"code": later(secret, 0)})).text
    await half_way(client)
    page = await admin.get("/password")
    admin.csrf = re.search(r'name="_csrf" value="([0-9a-f]+)"', page.text)[1]
    assert (await admin.post("/password", {"old": PASSWORD, "password": "quiet harbour 9 walnut"})).status_code == 303
    assert (await client.post("/sign-in/code", {"code": later(secret, 0)})).status_code == 401


async def test_setting_it_up_asks_for_the_password_and_ends_other_sessions(admin, browser) -> None:
    other = browser()
    await other.sign_in("admin")
    wrong = await admin.post("/account/second-factor", {"old": "not the password"})
    assert "the present password is not right" in wrong.text
    assert 'class="secret"' not in (await admin.get("/account/second-factor")).text
    await enrol(admin)
    assert not await is_in(other)
    assert await is_in(admin), "one's own session goes on, under a new id"


async def test_it_is_turned_off_with_password_and_code_only(admin, browser, web: Web) -> None:
    secret, _ = await enrol(admin)
    page = await admin.get("/account")
    admin.csrf = re.search(r'name="_csrf" value="([0-9a-f]+)"', page.text)[1]
    assert "not right" in (await admin.post("/account/second-factor/off", {"old": "x", "code": "1"})).text
    assert "not right" in (await admin.post("/account/second-factor/off", {"old": PASSWORD, "code": "111111"})).text
    off = {"old": PASSWORD, "code": later(secret, 0)}
    assert (await admin.post("/account/second-factor/off", off)).headers["location"] == "/sign-in?done=second-factor"
    assert (await browser().sign_in("admin")).headers["location"] == "/"


async def test_new_recovery_codes_end_the_old_ones(admin, browser, web: Web) -> None:
    secret, codes = await enrol(admin)
    admin.csrf = re.search(r'name="_csrf" value="([0-9a-f]+)"', (await admin.get("/account")).text)[1]
    answer = await admin.post("/account/second-factor/codes", {"code": later(secret, 0)})
    fresh = re.findall(r"<li>([a-z0-9-]{23})</li>", answer.text)
    assert not set(fresh) & set(codes)
    client = browser()
    await half_way(client)
    assert (await client.post("/sign-in/code", {"code": codes[0]})).status_code == 401
    assert (await client.post("/sign-in/code", {"code": fresh[0]})).status_code == 303


async def test_another_administrator_resets_it_and_that_is_in_the_audit(web: Web, bus: Bus, viewer, admin) -> None:
    await enrol(viewer)
    assert "password and code" in (await admin.get("/users")).text
    assert (await admin.post("/users/vera/second-factor")).status_code == 303
    assert not await is_in(viewer)
    assert (await viewer.sign_in("vera")).headers["location"] == "/"
    while await web.outbox.drain():
        pass
    bodies = [m.data async for m in bus.read("HERMES", "hermes.v1.user.changed", 0)]
    assert any(b"second factor removed" in body and b'"actor":"admin"' in body.replace(b" ", b"") for body in bodies)


async def test_ones_own_is_not_reset_that_way(admin) -> None:
    await enrol(admin)
    admin.csrf = re.search(r'name="_csrf" value="([0-9a-f]+)"', (await admin.get("/account")).text)[1]
    assert (await admin.post("/users/admin/second-factor")).status_code == 409


@pytest.fixture
def strict(web: Web) -> None:
    web.settings.second_factor = "administrators"


async def test_where_it_is_asked_of_administrators_nothing_else_opens_before(strict, admin, viewer, api) -> None:
    assert (await admin.get("/series")).headers["location"] == "/account/second-factor"
    assert (await admin.post("/users/vera/disable")).status_code == 403
    answer = await admin.get("/api/v1/users", headers={"x-csrf-token": admin.csrf})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:hermes:problem:second-factor-needed")
    assert (await viewer.get("/account")).status_code == 200
    assert (await viewer.get("/users")).status_code == 200, "a viewer is not asked"
    assert (await api.get("/api/v1/users")).status_code == 200, "a token is no password"
    await enrol(admin)
    assert (await admin.get("/users")).status_code == 200


async def test_a_session_is_ended_from_the_list_and_only_ones_own(admin, viewer, browser) -> None:
    other = browser()
    await other.sign_in("vera")
    page = (await viewer.get("/account")).text
    marks = re.findall(r'name="session" value="([0-9a-f]{12})"', page)
    assert len(marks) == 1, "the one that is looking is not offered"
    assert (await admin.post("/account/session", {"session": marks[0]})).status_code == 404
    assert await is_in(other)
    assert (await viewer.post("/account/session", {"session": marks[0]})).status_code == 303
    assert not await is_in(other)
    assert await is_in(viewer)
    page = (await admin.get("/users/vera")).text
    mark = re.search(r'name="session" value="([0-9a-f]{12})"', page)[1]
    assert (await admin.post("/users/vera/session", {"session": mark})).status_code == 303
    assert not await is_in(viewer)
