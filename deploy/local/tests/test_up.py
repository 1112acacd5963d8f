"""`hermes up` as a person starts it, with real servers and services that are fakes (tests/fakes)."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from hermes_local import runfile

pytestmark = pytest.mark.servers
FAKES = Path(__file__).parent / "fakes"
SERVICES = {"receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web"}
SERVERS = {"nats", "postgres", "s3"}


class Up:
    """One `hermes up`."""

    def __init__(self, home, *arguments, wait=True, **environment):
        self.home = home
        given = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
        given |= {"HERMES_HOME": str(home), "PYTHONPATH": str(FAKES), "COLUMNS": "200", **environment}
        self.output = home.parent / f"{home.name}-{time.monotonic_ns()}.txt"
        with self.output.open("w") as file:
            command = [sys.executable, "-m", "hermes_cli", "up", *arguments]
            self.process = subprocess.Popen(
                command, env=given, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        if wait:
            self.until(lambda: "Ctrl-C stops everything" in self.text)

    @property
    def text(self):
        return self.output.read_text()

    @property
    def run(self):
        return runfile.read(self.home / "run.json") or {"processes": {}}

    def until(self, condition, limit=30):
        deadline = time.monotonic() + limit
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def stop(self, number=signal.SIGINT, limit=40):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(limit)

    def told(self, name):
        lines = (self.home / "logs" / f"{name}.log").read_text().splitlines()
        return [json.loads(line)["environment"] for line in lines if line.startswith('{"event": "environment"')][-1]


@pytest.fixture
def up():
    """Starts launchers, in homes that are not below pytest's folder: another pytest closes that to PostgreSQL's
    user.
    """
    started = []
    place = Path(tempfile.mkdtemp(prefix="hermes-test-up-"))

    def start(*arguments, home="home", **environment):
        started.append(Up(place / home, *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        runfile.end_leftovers(one.home / "run.json")
    shutil.rmtree(place)


def test_everything_runs_and_stops_and_a_second_start_finds_its_data_and_ports(up):
    first = up()
    assert set(first.run["processes"]) == SERVICES | SERVERS
    assert {entry["state"] for entry in first.run["processes"].values()} == {"ready"}
    assert first.run["ready"] is True
    assert stat.S_IMODE((first.home / "run.json").stat().st_mode) == 0o600
    password = json.loads((first.home / "secrets.json").read_text())["admin_password"]
    assert password in first.text
    ports, pids = first.run["ports"], [entry["pid"] for entry in first.run["processes"].values()]
    assert first.stop() == 0
    assert not (first.home / "run.json").exists()
    assert not any(runfile.created(pid) for pid in pids)
    assert "drained" in (first.home / "logs" / "router.log").read_text()
    second = up()
    moved = {name for name, port in second.run["ports"].items() if port != ports[name]}
    assert all(f"{name}: port " in second.text for name in moved)  # another program of this machine may have them now
    assert password not in second.text
    assert second.stop(signal.SIGTERM) == 0


def test_a_killed_part_is_back_within_five_seconds_and_it_is_said(up):
    one = up(HERMES_OBJECT_STORE="file:///tmp/none")
    for name in ("router", "nats", "postgres", "web"):
        before = one.run["processes"][name]["pid"]
        os.kill(before, signal.SIGKILL)

        def is_back(name=name, before=before):
            entry = one.run["processes"][name]
            return entry["pid"] != before and entry["ready"]

        one.until(is_back, limit=5)
        assert f"{name} ended with signal SIGKILL; starting again at once" in one.text
        assert one.run["processes"][name]["restarts"] == 1
    assert one.stop() == 0


def test_a_second_launcher_in_the_same_home_is_told_who_holds_it(up):
    one = up(HERMES_OBJECT_STORE="file:///tmp/none")
    other = up(wait=False)
    assert other.process.wait(20) == 1
    assert f"process {one.process.pid} holds it" in other.text
    assert len(one.run["processes"]) == 8
    beside = up(home="another", HERMES_OBJECT_STORE="file:///tmp/none")
    assert not set(beside.run["ports"].values()) & set(one.run["ports"].values())
    assert beside.stop() == one.stop() == 0


def test_nothing_outlives_a_killed_launcher_for_long_and_the_next_start_works(up):
    one = up(FAKE_DRAIN="4", HERMES_OBJECT_STORE="file:///tmp/none")
    entries = one.run["processes"]
    one.process.kill()
    one.process.wait()
    time.sleep(0.3)
    still = {name for name, entry in entries.items() if runfile._runs(entry)}
    assert still >= SERVICES  # they drain, slowly
    next_one = up(HERMES_OBJECT_STORE="file:///tmp/none")
    assert "ended router, which a killed launcher had left behind" in next_one.text
    assert not any(runfile._runs(entry) for entry in entries.values())
    assert next_one.stop() == 0


def test_a_second_signal_does_not_wait_for_a_slow_service(up):
    one = up(FAKE_DRAIN="25", HERMES_OBJECT_STORE="file:///tmp/none")
    one.process.send_signal(signal.SIGINT)
    one.until(lambda: "Stopping" in one.text)
    started = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - started < 10
    assert "does not end; killed" in one.text


def test_a_taken_port_is_replaced_and_said_in_words(up):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        one = up(wait=False, HERMES_DICOM_PORT=str(port))
        assert one.process.wait(20) == 1
        assert f"Port {port} for dicom is not free" in one.text


def test_servers_that_the_environment_names_are_not_started_and_their_passwords_not_shown(up):
    one = up(
        HERMES_NATS_URL="nats://u:hidden@127.0.0.1:4999",
        HERMES_DATABASE_URL="postgresql+psycopg2://u:hidden@127.0.0.1:5999/x",
        HERMES_S3_ENDPOINT="127.0.0.1:9999",
        HERMES_S3_SECRET_KEY="hidden",
        HERMES_ADMIN_PASSWORD="hidden",
    )
    assert set(one.run["processes"]) == SERVICES
    assert one.told("bookkeeper")["HERMES_NATS_URL"] == "nats://u:hidden@127.0.0.1:4999"
    assert one.told("router")["HERMES_S3_ENDPOINT"] == "127.0.0.1:9999"
    assert "HERMES_S3_SECRET_KEY" not in one.told("bookkeeper")
    assert "hidden" not in one.text
    assert one.stop() == 0


def test_a_service_that_fails_is_reported_with_its_last_lines_and_tried_again(up):
    one = up(wait=False, FAKE_FAILS="cleaner", HERMES_OBJECT_STORE="file:///tmp/none")
    one.until(lambda: "starting again in 1 s" in one.text)
    assert "cleaner ended with exit code 3; starting again at once" in one.text
    assert "    cannot do it: no reason" in one.text
    assert one.stop() == 0


def test_a_service_that_cannot_use_its_settings_ends_the_launcher_with_the_reason(up):
    one = up(wait=False, FAKE_CANNOT_USE="web", HERMES_OBJECT_STORE="file:///tmp/none")
    assert one.process.wait(30) == 1
    assert "HERMES_ADMIN_PASSWORD cannot be used: too short" in one.text
    assert "starting again" not in one.text


def test_a_server_that_cannot_start_ends_the_launcher_with_its_last_lines(up):
    first = up(HERMES_OBJECT_STORE="file:///tmp/none")
    assert first.stop() == 0
    (first.home / "postgres" / "data" / "global" / "pg_control").unlink()
    second = up(wait=False, HERMES_OBJECT_STORE="file:///tmp/none")
    assert second.process.wait(30) == 1
    assert "postgres did not start" in second.text
    assert "pg_control" in second.text
