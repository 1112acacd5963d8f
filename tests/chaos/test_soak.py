"""Whether the soak sees what grows. It is run by hand (``just soak``): half an hour is too long for every change."""

import os
from pathlib import Path

import pytest
from hermes_chaos.soak import SERVICES, Held, held, slope, table

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
    text, steepest = table(looks(service, 3.0), SECONDS)
    assert steepest == pytest.approx(3)
    assert f"| {service} |" in text
    assert "**+3.00**" in text


def test_a_server_that_grows_decides_nothing() -> None:
    text, steepest = table(looks("nats", 90.0), SECONDS)
    assert steepest == pytest.approx(0, abs=1e-6)
    assert "**+90.00**" in text


def test_what_a_process_holds_is_seen() -> None:
    before = held(os.getpid(), 0)
    kept = bytearray(os.urandom(32 * 1024 * 1024))
    with Path(os.devnull).open("rb"):
        after = held(os.getpid(), 1)
    assert after.memory - before.memory > len(kept) / 1024 / 1024 - 1
    assert after.files == before.files + 1
