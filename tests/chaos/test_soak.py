"""Whether the soak sees what grows. It is run by hand (``just soak``): half an hour is too long for every change."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hermes_chaos.soak import SERVICES, Held, held, slope, table, unlevel

SECONDS = 1800.0


def looks(growing: str, rise: float) -> dict[str, list[Held]]:
    """Return looks of half an hour; after ten minutes of filling caches one service gains ``rise`` MiB an hour."""
    return {
        name: [
            Held(at, 50 + min(at, 500) / 10 + (rise * at / 3600 if name == growing else 0), 20, 5, 1)
            for at in (30.0 * number for number in range(1, 60))
        ]
        for name in (*SERVICES, "nats")
    }


def test_the_slope_is_that_of_an_hour() -> None:
    assert slope([(0, 10), (1800, 11), (3600, 12)]) == pytest.approx(2)


@pytest.mark.parametrize("service", SERVICES)
def test_what_each_service_gains_after_its_caches_are_full_is_seen(service: str) -> None:
    grows = looks(service, 3.0)
    assert "**+3.00**" in table(grows, SECONDS)
    [words] = unlevel(grows, SECONDS, 1.0)
    assert words == f"{service} gains 3.00 MiB an hour"


def test_a_server_that_grows_decides_nothing() -> None:
    grows = looks("nats", 90.0)
    assert unlevel(grows, SECONDS, 1.0) == []
    assert "**+90.00**" in table(grows, SECONDS)


HOLDER = """
import os, sys, threading
print("ready", flush=True)
sys.stdin.readline()
kept = os.urandom(32 * 1024 * 1024)
files = [open(os.devnull) for _ in range(5)]
threading.Thread(target=sys.stdin.read).start()
print("holds", flush=True)
"""


def test_what_a_process_holds_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before = held(process.pid, 0)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = held(process.pid, 1)
        process.stdin.close()
    assert after.memory - before.memory > 31
    assert after.files == before.files + 5
    assert after.threads == before.threads + 1


@pytest.mark.parametrize("what", ["files", "threads"])
def test_files_and_threads_that_are_not_given_back_are_seen(what: str) -> None:
    level = looks("nats", 0.0)
    assert unlevel(level, SECONDS, 1.0) == []
    leaks = {
        name: [replace(look, **{what: 20 + number}) for number, look in enumerate(each)] if name == "router" else each
        for name, each in level.items()
    }
    [words] = unlevel(leaks, SECONDS, 1.0)
    assert words.startswith("router")
    assert what in words
