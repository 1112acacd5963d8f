"""Every route with every role, generated from the application's own routes."""

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.routes import HTTPRoute
from pydantic import SecretStr
from sqlalchemy import Connection, insert, make_url, select

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.health import Health
from hermes_web.adapters import accounts
from hermes_web.adapters.hashing import digest
from hermes_web.adapters.schema import sessions, users
from hermes_web.adapters.sessions import ABSOLUTE
from hermes_web.app import build, make_web
from hermes_web.core.roles import Role
from hermes_web.http.guard import UndeclaredRouteError, check_declarations
from hermes_web.http.headers import Shell
from hermes_web.web import Web

VALUES = {"uid": "1.2.3", "delivery_id": "0" * 36, "number": "1", "kind": "rules", "name": "gone", "action": "nothing"}
REFUSED = (401, 403)
LEFT_OVER = "a-session-of-an-account-that-was-disabled"


def declared(app: Litestar) -> Iterator[tuple[str, str, Role, bool]]:
    """Yield method, address, role and whether it is the API, of every handler of ours."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"{route.path}: a route of another kind needs a walk of its own"
        path = re.sub(r"\{(\w+):\w+\}", lambda match: VALUES.get(match[1], "nothing"), route.path)
        for handler in route.route_handlers:
            for method in handler.http_methods - {"OPTIONS"}:
                yield method, path, handler.opt["role"], bool(handler.opt.get("api"))


def leave_a_session(connection: Connection) -> None:
    user = select(users.c.id).where(users.c.name == "gone").scalar_subquery()
    values = {"address": "", "agent": "", "created_at": now(), "last_seen_at": now(), "expires_at": now() + ABSOLUTE}
    connection.execute(insert(sessions).values(id_hash=digest(LEFT_OVER), user_id=user, **values))


async def ask(client: httpx.AsyncClient, method: str, path: str, csrf: str, headers: dict[str, str]) -> httpx.Response:
    body: dict[str, Any] = {"json": {}} if path.startswith("/api/") else {"data": {"_csrf": csrf}}
    return await client.request(method, path, headers=headers, **(body if method not in ("GET", "HEAD") else {}))


def refused(answer: httpx.Response) -> bool:
    return answer.status_code in REFUSED or answer.headers.get("location", "").startswith("/sign-in?next=")


@pytest.mark.timeout(400)  # half a thousand requests, each sign-in with its 19 MiB of argon2id
async def test_every_route_is_open_to_those_it_declares_and_to_nobody_else(web: Web, browser, make_ledger) -> None:
    make_ledger()
    tokens = {}
    for name, role, owner in (("v", "viewer", "vera"), ("a", "admin", "admin"), ("d", "admin", "gone")):
        tokens[name] = f"hermes_{name}_{'0' * 20}"
        await web.database.run(accounts.create_token, name, role, tokens[name], owner, None)
    await web.database.run(leave_a_session)
    walked = 0
    signed_in: dict[str, Any] = {}
    for method, path, role, api in declared(build(web)):
        for who, open_to in (
            ("anonymous", {Role.PUBLIC}),
            ("disabled", {Role.PUBLIC}),
            ("viewer", {Role.PUBLIC, Role.VIEWER}),
            ("admin", set(Role)),
        ):
            looks = not api and method == "GET" and who in signed_in  # what only looks leaves the session as it was
            client = signed_in[who] if looks else browser()
            headers = {"origin": client.origin, "sec-fetch-site": "same-origin", "if-match": '"0"'}
            if api and who != "anonymous":
                headers["authorization"] = f"Bearer {tokens[who[0]]}"
            elif who in ("viewer", "admin") and not looks:
                await client.sign_in({"viewer": "vera"}.get(who, who))
                if method == "GET" and not api:
                    signed_in[who] = client
            elif who == "disabled":
                client.http.cookies.set("__Host-hermes", LEFT_OVER, domain="hermes.test")
            answer = await ask(client.http, method, path, client.csrf, headers)
            if path in {"/sign-in", "/sign-in/code"} and method == "POST":
                assert answer.status_code == 401, "an empty form is refused, whoever sends it"
            else:
                assert refused(answer) is (role not in open_to), (method, path, who, answer.status_code)
            walked += 1
    assert walked > 300


async def test_a_route_without_a_declaration_stops_the_start(web: Web) -> None:
    @get("/forgotten")
    async def forgotten() -> str:
        return "open to everybody"

    app = build(web)
    app.register(forgotten)
    with pytest.raises(UndeclaredRouteError, match="/forgotten"):
        check_declarations(app)


async def test_a_cookie_does_not_speak_for_the_api_without_the_csrf_header(admin) -> None:
    assert (await admin.get("/api/v1/users")).status_code == 401
    assert (await admin.get("/api/v1/users", headers={"x-csrf-token": admin.csrf})).status_code == 200
    assert (await admin.get("/api/v1/users", headers={"x-csrf-token": "0" * 64})).status_code == 401


async def test_a_token_never_has_more_than_its_owner(web: Web, browser) -> None:
    await web.database.run(accounts.create_token, "t", "admin", "hermes_secret_secret", "vera", None)
    headers = {"authorization": "Bearer hermes_secret_secret"}
    assert (await browser().get("/api/v1/users", headers=headers)).status_code == 403
    assert (await browser().get("/api/v1/rules", headers=headers)).status_code == 200


async def test_a_revoked_token_is_refused_and_the_secret_is_shown_once(api: httpx.AsyncClient, browser) -> None:
    made = (await api.post("/api/v1/tokens", json={"name": "ci", "role": "viewer", "expires_in_days": 1})).json()
    headers = {"authorization": f"Bearer {made['token']}"}
    assert (await browser().get("/api/v1/status", headers=headers)).status_code == 200
    assert made["token"] not in (await api.get("/api/v1/tokens")).text
    assert (await api.delete(f"/api/v1/tokens/{made['id']}")).status_code == 204
    answer = await browser().get("/api/v1/status", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["action"]


async def test_the_description_of_the_api_is_openapi_3_1_and_no_page_loads_from_elsewhere(
    api: httpx.AsyncClient,
) -> None:
    document = (await api.get("/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/rules" in document["paths"]
    for path in ("/schema", "/api/v1/schema", "/schema/swagger", "/api/v1/schema/redoc"):
        assert (await api.get(path)).status_code == 404


async def test_a_token_that_a_token_made_ends_with_the_account_behind_both(web: Web, app, browser) -> None:
    await web.database.run(accounts.create_token, "first", "admin", "hermes_first_first_first", "admin", None)
    client = browser()
    first = {"authorization": "Bearer hermes_first_first_first", "cookie": ""}
    made = await client.http.post("/api/v1/tokens", json={"name": "second", "role": "admin"}, headers=first)
    assert made.status_code == 201, made.text
    assert made.json()["owner"] == "admin"


async def test_an_address_with_a_nul_character_is_refused_without_a_trace(admin) -> None:
    for path in ("/series/%00", "/api/v1/users/%00", "/deliveries?target=%00"):
        assert (await admin.get(path)).status_code == 400


async def test_a_nul_character_in_a_document_is_refused_with_what_to_do(api: httpx.AsyncClient, make_ledger) -> None:
    make_ledger()
    for path, document in (
        ("/tokens", {"name": "a\0b", "role": "viewer"}),
        ("/rules/test", {"series_uid": "1.2\0", "expression": 'Modality == "MR"'}),
    ):
        refused = await api.post(f"/api/v1{path}", json=document)
        assert (refused.status_code, refused.json()["action"]) == (400, "Take the character out."), path


async def test_an_error_page_never_leads_to_another_site(browser) -> None:
    answer = await browser().get("//evil.example/x")
    assert 'href="//' not in answer.text


async def test_an_address_without_a_page_has_the_menu_of_who_is_signed_in_and_of_nobody_else(
    admin, viewer, browser
) -> None:
    menu = 'aria-label="Main"'
    for path, status in (("/nowhere", 404), ("/rules/a/b/c/d", 404), ("/targets/pacs/test", 405)):
        for reader in (admin, viewer):
            answer = await reader.get(path)
            assert (answer.status_code, menu in answer.text) == (status, True), path
            assert "content-security-policy" in answer.headers
        assert f'name="_csrf" value="{viewer.csrf}"' in answer.text, "and can sign out there"
        stranger = await browser().get(path)
        assert (stranger.status_code, menu in stranger.text) == (status, False), path
    assert "cannot be loaded again" in answer.text
    api = await admin.get("/api/v1/nowhere")
    assert (api.status_code, api.headers["content-type"]) == (404, "application/problem+json")


class Relay:
    """A way to a server on which nothing is passed on any more once it hangs, while connections stay open."""

    def __init__(self, host: str, port: int) -> None:
        self._goal = (host, port)
        self._goes = asyncio.Event()
        self._goes.set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def hang(self) -> None:
        self._goes.clear()

    def go_on(self) -> None:
        self._goes.set()

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._goal)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._goes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_page_says_that_the_database_hangs_instead_of_waiting_for_ever(
    web: Web, bus: Bus, database_url: str, browse
) -> None:
    url = make_url(database_url)
    relay = Relay(url.host or "127.0.0.1", url.port or 5432)
    port = await relay.start()
    slow = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    made = make_web(
        web.settings.model_copy(update={"database_url": SecretStr(slow), "database_statement_seconds": 2}),
        "0.0.test",
        bus,
        Health(),
    )
    await made.database.prepare()
    reader = browse(Shell(build(made)))
    assert (await reader.sign_in("vera", "mossy lantern 47 orbit")).status_code == 303
    relay.hang()
    began = time.monotonic()
    shown = await reader.get("/series")
    refused = await browse(Shell(build(made))).sign_in("vera", "mossy lantern 47 orbit")
    took = time.monotonic() - began
    relay.go_on()
    assert ("The database is away" in shown.text, "says nothing for 2 s" in shown.text) == (True, True)
    assert "The database is away" in refused.text
    assert 4 <= took < 15
    assert (await reader.get("/series")).status_code == 200
    assert "The database is away" not in (await reader.get("/account")).text
    await asyncio.to_thread(made.database.close)
    await asyncio.to_thread(made.hasher.close)
    relay.stop()
