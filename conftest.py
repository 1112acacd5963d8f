"""Fixtures for every test of the workspace: real servers, started once a run, and a clean place on them for each test.

A peer that is missing (a Debian package) skips the test on a developer's machine and fails it under ``CI=true``.
"""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import nats
import psycopg2
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from hermes_common.runtime.bus import Bus
from hermes_common.runtime.settings import RuntimeSettings
from hermes_local.servers.testing import (
    RunningNats,
    RunningPostgres,
    RunningS3,
    nats_server,
    postgres_server,
    s3_server,
)

LONGEST = "tests/chaos/test_chaos_run.py"


ORDER = (LONGEST, "deploy/", "libs/", "tests/", "services/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, beside what takes little, and end with short ones: two processes share
    the files, and none is to wait for the other.
    """
    items.sort(key=lambda item: next((n for n, start in enumerate(ORDER) if item.nodeid.startswith(start)), len(ORDER)))


@pytest.fixture(scope="session")
def running_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNats]:
    """One NATS for the run."""
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def nats_url(running_nats: RunningNats) -> str:
    """Address of a NATS on which no stream exists yet."""
    url = running_nats.url()

    async def clear() -> None:
        connection = await nats.connect(url)
        context = connection.jetstream()
        for stream in await context.streams_info():
            await context.delete_stream(str(stream.config.name))
        await connection.close()

    asyncio.run(clear())
    return url


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus with the streams and buckets of Hermes, all empty."""
    connected = Bus(RuntimeSettings(nats_url=SecretStr(nats_url)), "test")
    connected.start()
    await asyncio.wait_for(connected.ready(), 10)
    yield connected
    await connected.close()


@pytest.fixture(scope="session")
def running_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPostgres]:
    """One PostgreSQL for the run."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def database_url(running_postgres: RunningPostgres) -> Iterator[str]:
    """URL of an empty database of its own."""
    url = make_url(running_postgres.url)
    name = f"test_{uuid.uuid4().hex[:12]}"
    superuser = make_url(running_postgres.server.superuser_url).set(drivername="postgresql")
    admin = psycopg2.connect(superuser.render_as_string(hide_password=False))
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} OWNER {url.username}")
        yield url.set(database=name).render_as_string(hide_password=False)
        with admin.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        admin.close()


@pytest.fixture(scope="session")
def running_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """One S3 store for the run."""
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="session")
def peer() -> Callable[[str, str], str]:
    """Return the path of a program of a Debian package; skip, or fail under CI, when it is not installed."""

    def find(program: str, package: str) -> str:
        path = shutil.which(program, path="/usr/bin:/usr/sbin:/usr/local/bin")
        if path is None:
            message = f"{program} is not installed: apt-get install {package}"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent
