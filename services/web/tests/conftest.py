"""The web service on real servers, with a browser that follows its rules, and a ledger filled with samples."""

import asyncio
import re
import runpy
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, insert, text

from hermes_common import ledger
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.health import Health
from hermes_web.app import build, make_web, seed_administrator
from hermes_web.features.users import service as users
from hermes_web.http.headers import Shell
from hermes_web.settings import Settings
from hermes_web.web import Web

PASSWORD = "mossy lantern 47 orbit"
TOKEN = "token-for-automation-0123456789abcdef"
ORIGIN = "https://hermes.test"
SAMPLES = runpy.run_path(str(Path(__file__).with_name("samples.py")))

pytestmark = pytest.mark.servers


class Browser:
    """A client that keeps cookies, sends Origin and Sec-Fetch-Site, and fills in the form's token."""

    def __init__(self, app: Any, base: str = ORIGIN) -> None:
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 40000))
        self.http = httpx.AsyncClient(transport=transport, base_url=base)
        self.origin = base
        self.csrf = ""

    @property
    def cookie(self) -> str | None:
        """The session's id as the browser holds it."""
        return self.http.cookies.get("__Host-hermes")

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Open a page."""
        return await self.http.get(path, **options)

    async def post(self, path: str, form: Any = None, **headers: str | None) -> httpx.Response:
        """Send a form as the page would; a header of None is left out."""
        sent = {"origin": self.origin, "sec-fetch-site": "same-origin"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        for name, value in headers.items():
            if value is None:
                sent.pop(name.replace("_", "-"), None)
        return await self.http.post(path, data={"_csrf": self.csrf, **(form or {})}, headers=sent)

    async def sign_in(self, name: str, password: str = PASSWORD, **form: str) -> httpx.Response:
        """Sign in and learn the token of the session."""
        answer = await self.post("/sign-in", {"name": name, "password": password, **form})
        if answer.status_code == 303:
            page = await self.get("/password")
            found = re.search(r'name="_csrf" value="([0-9a-f]+)"', page.text)
            self.csrf = found[1] if found else ""
        return answer


@pytest.fixture
async def another_web(bus: Bus, database_url: str) -> AsyncIterator[Callable[[], Awaitable[Web]]]:
    """Make the collaborators of one more process of the service, over the same database."""
    every: list[Web] = []

    async def make() -> Web:
        settings = Settings(
            database_url=SecretStr(database_url),
            admin_password=SecretStr(PASSWORD),
            admin_token=SecretStr(TOKEN),
            secret_key=SecretStr("a key of at least 32 characters ..."),
        )
        made = make_web(settings, "0.0.test", bus, Health())
        every.append(made)
        await made.database.prepare()
        return made

    yield make
    for made in every:
        await asyncio.to_thread(made.database.close)
        await asyncio.to_thread(made.hasher.close)


@pytest.fixture
async def web(another_web: Callable[[], Awaitable[Web]]) -> Web:
    """The collaborators, with an administrator, a viewer and a disabled account."""
    made = await another_web()
    await seed_administrator(made)
    await users.create(made, "vera", PASSWORD, "viewer", "admin")
    await users.create(made, "gone", PASSWORD, "admin", "admin")
    await users.change(made, "gone", "admin", enabled=False, own=None)
    return made


@pytest.fixture
def app(web: Web) -> Any:
    """The whole application, outermost layer included."""
    return Shell(build(web))


@pytest.fixture
def browser(app: Any) -> Callable[[], Browser]:
    """Make browsers of which nobody is signed in."""
    return lambda: Browser(app)


@pytest.fixture
def browse() -> Callable[[Any], Browser]:
    """Make a browser of an application that a test has put together itself."""
    return Browser


@pytest.fixture
async def admin(app: Any) -> Browser:
    """A browser in which the administrator is signed in."""
    made = Browser(app)
    assert (await made.sign_in("admin")).status_code == 303
    return made


@pytest.fixture
async def viewer(app: Any) -> Browser:
    """A browser in which a viewer is signed in."""
    made = Browser(app)
    assert (await made.sign_in("vera")).status_code == 303
    return made


@pytest.fixture
async def api(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A program with the administrator's token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, headers=headers) as client:
        yield client


@pytest.fixture
def make_ledger(database_url: str) -> Callable[..., None]:
    """Make the tables of the history and fill them; ``words`` replaces every text that comes over DICOM."""

    def fill(words: str = "") -> None:
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
            ledger.metadata.create_all(connection)
            for table, rows in SAMPLES["sample_rows"](words):
                connection.execute(insert(table), rows)
        engine.dispose()

    return fill
