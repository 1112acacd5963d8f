"""Sessions, passwords and guesses."""

import asyncio
import os
from collections import Counter

import pytest
from sqlalchemy import Connection, text

from hermes_common.runtime.bus import Bus
from hermes_web.app import build
from hermes_web.core.passwords import password_problem
from hermes_web.features.signin.pages import local_path
from hermes_web.http.headers import Shell
from hermes_web.web import Web

PASSWORD = "mossy lantern 47 orbit"
NEW = "quiet harbour 9 walnut"


def shift(connection: Connection, column: str, back: str) -> None:
    statement = f"UPDATE accounts.sessions SET {column} = {column} - CAST(:back AS interval)"  # noqa: S608  # ours
    connection.execute(text(statement), {"back": back})


async def signed_in(browser) -> bool:
    return (await browser.get("/password")).status_code == 200


async def test_a_session_id_that_the_client_chose_never_becomes_a_session(browser) -> None:
    attacked = browser()
    attacked.http.cookies.set("__Host-hermes", "chosen-by-the-attacker", domain="hermes.test")
    answer = await attacked.sign_in("admin")
    cookie = answer.headers["set-cookie"]
    assert "chosen-by-the-attacker" not in cookie
    for part in ("__Host-hermes=", "Secure", "HttpOnly", "SameSite=strict", "Path=/"):
        assert part.lower() in cookie.lower()
    assert "domain" not in cookie.lower()
    other = browser()
    other.http.cookies.set("__Host-hermes", "chosen-by-the-attacker", domain="hermes.test")
    assert not await signed_in(other)


async def test_signing_in_again_changes_the_id_and_ends_the_old_session(browser) -> None:
    client, replay = browser(), browser()
    await client.sign_in("admin")
    first = client.cookie
    await client.sign_in("admin")
    assert client.cookie != first
    replay.http.cookies.set("__Host-hermes", first, domain="hermes.test")
    assert not await signed_in(replay)


async def test_signing_out_ends_the_session_on_the_server(admin, browser) -> None:
    replay = browser()
    replay.http.cookies.set("__Host-hermes", admin.cookie, domain="hermes.test")
    assert await signed_in(replay)
    assert (await admin.post("/sign-out")).status_code == 303
    assert not await signed_in(replay)


@pytest.mark.parametrize(
    ("column", "back"), [("last_seen_at", "31 minutes"), ("expires_at", "12 hours"), ("expires_at", "13 hours")]
)
async def test_a_session_ends_when_it_was_idle_or_is_too_old(web: Web, admin, column: str, back: str) -> None:
    assert await signed_in(admin)
    await web.database.run(shift, column, back)
    assert not await signed_in(admin)


async def test_a_change_of_password_or_role_ends_every_other_session(browser, admin, viewer) -> None:
    other = browser()
    await other.sign_in("vera")
    answer = await viewer.post("/password", {"old": PASSWORD, "password": NEW})
    assert answer.status_code == 303
    assert await signed_in(viewer), "one's own session goes on, under a new id"
    assert not await signed_in(other)
    assert (await admin.post("/users/vera/role", {"role": "admin"})).status_code == 303
    assert not await signed_in(viewer)


async def test_a_disabled_account_is_out_at_once(admin, viewer) -> None:
    assert (await admin.post("/users/vera/disable")).status_code == 303
    assert not await signed_in(viewer)
    assert (await viewer.sign_in("vera")).status_code == 401


async def test_the_last_administrator_stays_one(admin) -> None:
    assert (await admin.post("/users/admin/role", {"role": "viewer"})).status_code == 409
    assert (await admin.post("/users/admin/disable")).status_code == 409


async def test_at_most_ten_guesses_per_account_however_many_come_at_once(web: Web, browser) -> None:
    answers = await asyncio.gather(*(browser().sign_in("admin", f"wrong password {n}") for n in range(30)))
    assert [answer.status_code for answer in answers].count(401) == 10
    assert [answer.status_code for answer in answers].count(429) == 20
    assert (await browser().sign_in("admin")).status_code == 429, "the right password does not help now"
    assert (await browser().sign_in("vera")).status_code == 303, "other accounts are not held up"


async def test_guesses_over_several_processes_of_the_service_are_counted_together(
    web: Web, another_web, browse
) -> None:
    total = int(os.environ.get("HERMES_TEST_GUESSES", "60"))  # docs/reliability.md speaks of 10,000
    apps = [Shell(build(each)) for each in (web, await another_web(), await another_web())]
    statuses: Counter[int] = Counter()
    for start in range(0, total, 60):
        guesses = range(start, min(start + 60, total))
        answers = (browse(apps[n % len(apps)]).sign_in("admin", f"wrong password {n}") for n in guesses)
        statuses.update(answer.status_code for answer in await asyncio.gather(*answers))
    assert statuses == {401: 10, 429: total - 10}


async def test_an_address_that_tries_many_accounts_is_held_up_too(browser) -> None:
    answers = await asyncio.gather(*(browser().sign_in(f"user{n}", "wrong password") for n in range(60)))
    assert [answer.status_code for answer in answers].count(401) == 50
    assert (await browser().sign_in("vera")).status_code == 429


async def test_the_answer_does_not_say_whether_the_account_exists(browser) -> None:
    known = await browser().sign_in("admin", "wrong password here")
    unknown = await browser().sign_in("nobody", "wrong password here")
    disabled = await browser().sign_in("gone", PASSWORD)
    assert known.status_code == unknown.status_code == disabled.status_code == 401
    texts = {answer.text.split("<main", 1)[1].replace("nobody", "admin").replace("gone", "admin").split("<footer")[0]
             for answer in (known, unknown, disabled)}  # fmt: skip
    assert len(texts) == 1


async def test_what_people_do_is_said_on_the_bus_after_the_commit(web: Web, bus: Bus, browser) -> None:
    await browser().sign_in("admin", "wrong password here")
    await browser().sign_in("admin")
    while await web.outbox.drain():
        pass
    types = [message.headers["ce-type"] async for message in bus.read("HERMES", "hermes.v1.user.>", 0)]
    assert types.count("hermes.v1.user.login_failed") == 1
    assert types[-1] == "hermes.v1.user.logged_in"
    assert "hermes.v1.user.created" in types
    assert "hermes.v1.user.disabled" in types


@pytest.mark.parametrize(
    "password", ["short", "password1234", "Administrator!1", "aaaaaaaaaaaaaa", "admin admin admin"]
)
def test_weak_passwords_are_refused(password: str) -> None:
    assert password_problem(password, "admin") is not None


@pytest.mark.parametrize("path", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:x", "/a\nb"])
def test_after_signing_in_nobody_is_sent_to_another_site(path: str) -> None:
    assert local_path(path) == "/"


async def test_guessing_ones_own_password_is_throttled_like_signing_in(admin) -> None:
    answers = [await admin.post("/password", {"old": f"guess {number}", "password": "short"}) for number in range(12)]
    assert [answer.status_code for answer in answers[-2:]] == [429, 429]


async def test_signing_in_does_not_give_a_guesser_fresh_tries(browser) -> None:
    guesser, owner = browser(), browser()
    codes = []
    for _ in range(3):
        codes += [(await guesser.sign_in("vera", f"wrong password {len(codes)}")).status_code for _ in range(4)]
        await owner.sign_in("vera")
    assert codes.count(429) >= 2
