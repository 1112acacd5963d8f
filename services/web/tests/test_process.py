"""The service as a process: it waits for the database, says that it is ready, and stops when it is told to."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

PASSWORD = "mossy lantern 47 orbit"
TOKEN = "token-for-automation-0123456789abcdef"


@contextmanager
def running(
    nats_url: str, database_url: str, password: str = PASSWORD
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "HERMES_NATS_URL": nats_url,
        "HERMES_DATABASE_URL": database_url,
        "HERMES_HTTP_PORT": str(port),
        "HERMES_ADMIN_PASSWORD": password,
        "HERMES_ADMIN_TOKEN": TOKEN,
    }
    with tempfile.TemporaryFile() as said:  # no pipe, which would be full one day, and the service stand still
        process = subprocess.Popen([sys.executable, "-m", "hermes_web"], env=environment, stderr=said)
        process.stderr = said
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()
            process.wait(30)


def wait(url: str, status: int) -> httpx.Response:
    until = time.monotonic() + 60
    while True:
        try:
            answer = httpx.get(url, timeout=2)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code == status:
            return answer
        assert time.monotonic() < until, f"{url}: {answer and answer.text}"
        time.sleep(0.1)


def test_it_starts_makes_the_administrator_and_stops_when_told(nats_url: str, database_url: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with running(nats_url, database_url) as (url, process):
        wait(f"{url}/readyz", 200)
        until = time.monotonic() + 10
        while (answer := httpx.get(f"{url}/api/v1/users", headers=headers)).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert [user["name"] for user in answer.json()["items"]] == ["admin"]
        assert "python_info" in httpx.get(f"{url}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with running(nats_url, database_url) as (url, process):
        wait(f"{url}/readyz", 200)
        assert httpx.get(f"{url}/api/v1/users", headers=headers).status_code == 200


def test_without_a_database_it_lives_is_not_ready_and_says_why(nats_url: str) -> None:
    with running(nats_url, "postgresql+psycopg2://nobody@127.0.0.1:1/none") as (url, _):
        assert wait(f"{url}/livez", 200).json() == {"alive": True}
        answer = wait(f"{url}/readyz", 503)
        assert answer.json()["checks"]["database"] == "the database is not connected yet"
        problem = httpx.get(f"{url}/api/v1/status", headers={"authorization": f"Bearer {TOKEN}"})
        assert (problem.status_code, problem.json()["type"]) == (503, "urn:hermes:problem:database-unavailable")
        assert httpx.get(f"{url}/sign-in").status_code == 200


def test_a_port_that_is_taken_ends_the_service_and_names_the_reason(nats_url: str, database_url: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {
            **os.environ,
            "HERMES_NATS_URL": nats_url,
            "HERMES_DATABASE_URL": database_url,
            "HERMES_HTTP_PORT": str(taken.getsockname()[1]),
        }
        command = [sys.executable, "-m", "hermes_web"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode != 0
    assert "Address already in use" in ended.stdout + ended.stderr


def test_an_administrator_that_cannot_be_made_ends_it_and_once_there_is_one_the_variable_is_not_looked_at(
    nats_url: str, database_url: str
) -> None:
    with running(nats_url, database_url, "short") as (_, process):
        assert process.wait(60) == 2
        assert process.stderr is not None
        process.stderr.seek(0)
        assert b"HERMES_ADMIN_PASSWORD cannot be used: at least 12 characters" in process.stderr.read()
    with running(nats_url, database_url) as (url, _):
        wait(f"{url}/readyz", 200)
    with running(nats_url, database_url, "short") as (url, _):
        wait(f"{url}/readyz", 200)
