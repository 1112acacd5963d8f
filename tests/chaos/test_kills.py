"""Killing, starving and doubling services while images are under way.

After each fault the ledgers are joined: what the sender was told, what the target has, what the history says.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Hermes, Series, StoreScp, home_folder, make_series, rule, storescu, target, until

pytestmark = [pytest.mark.chaos, pytest.mark.interop, pytest.mark.timeout(400)]

Peer = Callable[[str, str], str]
Scp = Callable[[str], StoreScp]

INSTANCES = 200


@pytest.fixture(scope="module")
def victim() -> Iterator[Hermes]:
    """A router that is going to be hurt."""
    home = home_folder("chaos")
    running = Hermes(home)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(home.parent, ignore_errors=True)


class Sender(threading.Thread):
    """Sends every file of a series until each was answered with Success, and remembers each answer."""

    def __init__(self, program: str, hermes: Hermes, series: Series) -> None:
        super().__init__()
        self._program = program
        self._hermes = hermes
        self._series = series
        self.acknowledged: set[Path] = set()
        self.repeated = 0

    def run(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            missing = [path for path in self._series.files if path not in self.acknowledged]
            if not missing:
                return
            self._send(missing)

    def _send(self, files: list[Path]) -> None:
        try:
            sent = storescu(self._program, self._hermes.dicom_port, files, "-v", "-xe")
        except (OSError, ValueError, KeyError, subprocess.SubprocessError):
            time.sleep(0.5)  # the launcher is writing down where things are
            return
        answers = (sent.stdout + sent.stderr).count("Received Store Response (Success)")
        self.acknowledged |= set(files[:answers])
        if answers < len(files):
            self.repeated += 1
            time.sleep(0.5)


def route_to(hermes: Hermes, scp: StoreScp, **more: Any) -> None:
    """Send every CT to ``scp``, as a target of that test alone: what an earlier one left does not come here."""
    slug = f"pacs{scp.port}"
    hermes.configure([target(slug, scp.port, **more)], [rule("ct", 'Modality == "CT"', slug)])


def check_books(hermes: Hermes, series: Series, scp: StoreScp, sender: Sender) -> dict[str, Any]:
    """Assert that all records agree: acknowledged, at the target, in the history. Return the history."""
    assert sender.acknowledged == set(series.files)

    def settled() -> dict[str, Any] | None:
        found = hermes.reached(series.uid, "delivered")
        if found is None or found["instances"] != len(series.files):
            return None
        return found

    history = until("everything delivered", settled, 90)
    at_target = Counter(scp.digests())
    sent = set(series.digests().values())
    assert set(at_target) == sent, f"{len(sent - set(at_target))} lost, {len(set(at_target) - sent)} foreign"
    said: Counter[str] = Counter()
    with hermes.api() as api:
        for delivery in history["deliveries"]:
            after: int | None = -1
            while after is not None:
                detail = api.get(f"/deliveries/{delivery['delivery_id']}", after=after)
                said.update(each["sop_instance_uid"] for each in detail["outcomes"] if each["result"] == "delivered")
                after = detail["outcomes_next"]
    assert set(said) == set(series.digests()), "the history says something else than the target"
    return history


@pytest.mark.parametrize("service", ["receiver", "router", "dispatcher", "cleaner", "bookkeeper", "web"])
def test_killing_a_service_in_the_middle_loses_nothing_and_says_nothing_false(
    victim: Hermes, storescp: Scp, peer: Peer, tmp_path: Path, service: str
) -> None:
    scp = storescp("pacs")
    route_to(victim, scp)
    series = make_series(tmp_path / "series", INSTANCES, 20_000)
    sender = Sender(peer("storescu", "dcmtk"), victim, series)
    sender.start()
    if service == "dispatcher":
        until("the dispatcher is sending", lambda: len(scp.received()) >= 10)
    elif service == "router":
        sender.join()  # the series is complete about a second later: the decision is what is interrupted
        time.sleep(0.9)
    else:
        until("some of it has come", lambda: sender.acknowledged or _spooled(victim) > 20, 30)
    killed = victim.kill(service)
    until(f"the {service} is back", lambda: victim.is_back(service, killed), 20)
    sender.join(150)
    check_books(victim, series, scp, sender)
    copies = len(scp.received()) - INSTANCES
    assert copies <= 16, f"{copies} were sent twice for one crash"


@pytest.mark.parametrize("server", ["nats", "s3", "postgres"])
def test_killing_a_server_in_the_middle_loses_nothing_and_needs_nobody(
    victim: Hermes, storescp: Scp, peer: Peer, tmp_path: Path, server: str
) -> None:
    scp = storescp("pacs")
    route_to(victim, scp)
    series = make_series(tmp_path / "series", INSTANCES, 20_000)
    sender = Sender(peer("storescu", "dcmtk"), victim, series)
    sender.start()
    until("some of it has come", lambda: sender.acknowledged or _spooled(victim) > 20, 30)
    killed = victim.kill(server)
    until(f"{server} is back", lambda: victim.is_back(server, killed), 40)
    sender.join(150)
    check_books(victim, series, scp, sender)


@pytest.mark.parametrize("server", ["nats", "s3", "postgres"])
def test_a_server_that_hangs_for_a_while_stops_neither_receiving_nor_anything_for_good(
    victim: Hermes, storescp: Scp, peer: Peer, tmp_path: Path, server: str
) -> None:
    scp = storescp("pacs")
    route_to(victim, scp)
    series = make_series(tmp_path / "series", 50, 20_000)
    sender = Sender(peer("storescu", "dcmtk"), victim, series)
    victim.kill(server, signal.SIGSTOP)
    try:
        sender.start()
        sender.join(20)
        assert not sender.is_alive(), "receiving waits for a server that it does not need"
        time.sleep(10)
    finally:
        victim.kill(server, signal.SIGCONT)
    check_books(victim, series, scp, sender)


def test_two_of_each_service_do_no_work_twice_and_lose_none(
    victim: Hermes, storescp: Scp, peer: Peer, tmp_path: Path
) -> None:
    scp = storescp("pacs")
    route_to(victim, scp, concurrency=4)
    second = [_second(victim, name, tmp_path) for name in ("router", "dispatcher", "cleaner", "bookkeeper")]
    try:
        time.sleep(3)
        several = [make_series(tmp_path / f"series{number}", 20) for number in range(10)]
        for series in several:
            assert storescu(peer("storescu", "dcmtk"), victim.dicom_port, series.files).returncode == 0
        for series in several:
            until("delivered", lambda uid=series.uid: victim.reached(uid, "delivered"), 60)
        expected = Counter(digest for series in several for digest in series.digests().values())
        assert Counter(scp.digests()) == expected
        for series in several:
            history = victim.series(series.uid)
            assert history is not None
            assert len(history["decisions"]) == 1
            assert [(each["state"], each["attempt"]) for each in history["deliveries"]] == [("succeeded", 1)]
    finally:
        for process in second:
            process.terminate()
        codes = [process.wait(40) for process in second]
    assert codes == [0] * len(second), "a graceful stop"


def _second(hermes: Hermes, name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start one more of a service, as it would be on another machine."""
    environment = {**os.environ, **hermes.variables, "HERMES_LOG_FORMAT": "json"}
    with (folder / f"second-{name}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", f"hermes_{name}"], env=environment, stdout=log, stderr=log)


def _spooled(hermes: Hermes) -> int:
    return sum(len(list((hermes.home / "spool" / part).glob("*"))) for part in ("incoming", "ready", "done"))
