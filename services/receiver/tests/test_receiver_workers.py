"""The receiver as several processes: one port, one set of limits, one voice; a killed worker costs nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.dicom.errors import AssociationError, AssociationRejected
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_receiver.adapters import notices
from hermes_receiver.adapters.board import Board, Full
from hermes_receiver.adapters.share import VARIABLE, Role, bound
from hermes_receiver.adapters.spool import Folder, Spool, is_unclean, worker_folder

pytestmark = pytest.mark.servers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, limit=20.0):
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, "this did not become true in time"
        time.sleep(0.05)
    return value


class Service:
    """``hermes-receiver`` as it is run, with a directory as its store."""

    def __init__(self, folder: Path, nats_url: str, workers: int, **variables: str) -> None:
        self.spool, self.objects = folder / "spool", folder / "objects"
        self.port, self.health = free_port(), free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HERMES_")}
        self.environment = clean | {
            "HERMES_NATS_URL": nats_url,
            "HERMES_SPOOL": str(self.spool),
            "HERMES_SPOOL_MIN_FREE_BYTES": "0",
            "HERMES_OBJECT_STORE": f"file://{self.objects}",
            "HERMES_DICOM_HOST": "127.0.0.1",
            "HERMES_DICOM_PORT": str(self.port),
            "HERMES_HEALTH_PORT": str(self.health),
            "HERMES_RECEIVER_WORKERS": str(workers),
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hermes_receiver"], env=self.environment, stderr=subprocess.DEVNULL
        )

    def get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}{path}", timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.read().decode()

    def checks(self) -> dict[str, str]:
        try:
            return json.loads(self.get("/readyz"))["checks"]
        except OSError:
            return {}

    def ready(self) -> Service:
        eventually(lambda: (found := self.checks()) and all(word == "ok" for word in found.values()), 40)
        return self

    def workers(self) -> list[psutil.Process]:
        return self.children(Role.RECEIVE)

    def uploads(self) -> psutil.Process:
        return self.children(Role.UPLOAD)[0]

    def children(self, role: Role) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess, KeyError):
                if json.loads(child.environ()[VARIABLE])["role"] == role:
                    found.append(child)
        return found

    def associate(self, sop_class=VERIFICATION, syntax=IMPLICIT_LITTLE):
        return StorageAssociation.negotiate("SENDER", "HERMES", "127.0.0.1", self.port, [(sop_class, syntax)])

    def stored(self) -> list[Path]:
        return list(self.objects.rglob("*.dcm"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@pytest.fixture
def service(tmp_path, nats_url):
    made: list[Service] = []

    def make(workers: int = 2, **variables: str) -> Service:
        made.append(Service(tmp_path, nats_url, workers, **variables))
        return made[-1].ready()

    yield make
    for one in made:
        if one.process.poll() is None:
            one.stop()


def test_what_is_answered_while_the_process_that_uploads_is_killed_is_stored(service, ct):
    running = service(HERMES_SPOOL_GRACE="1h")
    answered = 0
    with running.associate(ct.sop_class, ct.syntax) as association:
        for number in range(60):
            answered += association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status == 0
            if number % 20 == 10:
                eventually(lambda: running.children(Role.UPLOAD))
                running.uploads().kill()
    assert answered == 60
    eventually(lambda: len(running.stored()) == answered, 90)  # three starts of the process, on a busy machine
    for path in running.stored():
        assert path.read_bytes()[parse_file_meta(path.read_bytes()).offset :] == ct.data
    running.ready()
    eventually(lambda: "hermes_receiver_spool_pending_octets 0.0" in running.get("/metrics"))


@pytest.mark.parametrize("ack", ["spooled", "stored"])
def test_an_entry_that_nobody_told_of_is_found(service, ct, tmp_path, ack):
    running = service(HERMES_ACK=ack)
    with running.associate(ct.sop_class, ct.syntax) as association:
        assert association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status == 0
    first = eventually(running.stored)[0]
    entry = "f" * 32
    done = eventually(lambda: list(running.spool.rglob("done/*.dcm")))[0]
    (tmp_path / "again").write_bytes(done.read_bytes())
    (tmp_path / "again").rename(running.spool / "workers" / "1" / "ready" / f"{entry}.dcm")
    eventually(lambda: len(running.stored()) == 2)
    assert running.stored()[0].read_bytes() == first.read_bytes()


@pytest.mark.parametrize("taken", ["the object", "its bytes"])
def test_copies_whose_objects_a_power_cut_took_are_uploaded_again(service, ct, taken):
    running = service()
    with running.associate(ct.sop_class, ct.syntax) as association:
        assert association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status == 0
    stored = eventually(running.stored)
    eventually(lambda: list(running.spool.rglob("done/*.dcm")))
    running.process.kill()
    running.process.wait(10)
    whole = stored[0].read_bytes()
    stored[0].unlink()  # it may share its bytes with the copy in the spool
    if taken == "its bytes":
        stored[0].write_bytes(bytes(len(whole)))
    service()
    eventually(lambda: [path for path in stored if path.exists() and path.read_bytes() == whole])


def test_a_certificate_that_cannot_be_used_ends_the_receiver_with_words(tmp_path, nats_url):
    running = Service(tmp_path, nats_url, 2, HERMES_DICOM_TLS_CERT=str(tmp_path / "none.pem"))
    assert running.process.wait(30) == 2


def test_notices_arrive_and_a_full_pipe_holds_nobody_up():
    read, write = notices.pipe()
    first, second = notices.Handover(write, 0), notices.Handover(write, 1)
    try:
        for _ in range(40_000):
            first.offer("a" * 32, quarantined=False)
        told = []
        assert notices.take(read, b"", lambda *notice: told.append(notice)) == b""
        assert set(told) == {(0, "a" * 32, False)}
        assert len(told) < 40_000
        second.offer("b" * 32, quarantined=True)
        os.write(write, b"nonsense\n1 r ../../etc\n")
        del told[:]
        assert notices.take(read, b"", lambda *notice: told.append(notice)) == b""
        assert told == [(1, "b" * 32, True)]
    finally:
        os.close(read)
        os.close(write)


def test_a_killed_worker_is_back_and_what_was_answered_with_success_is_stored(service, ct):
    running = service()
    answered = []
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            with contextlib.suppress(AssociationError), running.associate(ct.sop_class, ct.syntax) as association:
                while not done.is_set():
                    result = association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data)
                    answered.append(result.status)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    killed = set()
    for number in range(4):
        time.sleep(0.4)
        victim = eventually(lambda: [w for w in running.workers() if w.pid not in killed])[number % 2 - 1]
        killed.add(victim.pid)
        victim.kill()
    time.sleep(0.4)
    done.set()
    for sender in senders:
        sender.join(30)
    running.ready()
    assert len(running.workers()) == 2
    assert not killed & {worker.pid for worker in running.workers()}
    assert len(answered) > 20
    assert set(answered) == {0}
    folders = [running.spool / "ready", running.spool / "workers" / "1" / "ready"]
    eventually(lambda: not any(list(folder.iterdir()) for folder in folders))
    stored = running.stored()
    assert len(stored) >= len(answered)
    raw = stored[0].read_bytes()
    assert raw[parse_file_meta(raw).offset :] == ct.data
    assert running.stop() == 0


def test_limits_hold_over_all_workers_and_places_of_a_dead_worker_are_free_again(service):
    running = service(HERMES_MAX_ASSOCIATIONS="3")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running.associate())
        for _ in range(4):
            with pytest.raises(AssociationRejected) as caught:
                running.associate()
            assert caught.value.is_transient
        before = {worker.pid for worker in running.workers()}
        for worker in running.workers():
            worker.kill()
        eventually(lambda: running.workers() and not before & {w.pid for w in running.workers()})
        running.ready()
        with running.associate() as association:
            assert association.c_echo().code == 0
        with contextlib.suppress(AssociationError):
            stack.close()


def test_one_health_port_speaks_for_all_workers(service, ct):
    running = service()
    for _ in range(6):
        with running.associate(ct.sop_class, ct.syntax) as association:
            assert association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status == 0
    assert re.search(r'hermes_receiver_instances_total\{outcome="stored"\} 6\.0', running.get("/metrics"))
    assert {"worker 0", "worker 1", "workers", "bus"} <= set(running.checks())
    first = running.workers()[0]
    first.suspend()
    try:
        words = eventually(lambda: [w for n, w in running.checks().items() if n.startswith("worker ") and w != "ok"])
        assert "silent" in words[0]
        assert running.checks()["workers"] == "ok"
    finally:
        first.resume()
    running.ready()


def test_workers_end_with_their_supervisor_and_leave_port_and_spool_to_the_next_one(service):
    running = service()
    workers = running.workers()
    running.process.kill()
    running.process.wait(5)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    bound("127.0.0.1", running.port).close()
    for worker in (0, 1):
        spool = Spool(worker_folder(running.spool, worker))
        spool.open()
        spool.close(clean=False)


def test_what_a_worker_left_is_taken_over_when_there_are_fewer_of_them(tmp_path):
    for worker, entry in ((1, "a" * 32), (2, "b" * 32)):
        folder = worker_folder(tmp_path, worker)
        spool = Spool(folder)
        spool.open()
        (folder / "ready" / f"{entry}.dcm").write_bytes(b"123")
        spool.close(clean=worker == 1)
    spool = Spool(tmp_path)
    spool.open()
    assert spool.entries(Folder.READY) == ["a" * 32, "b" * 32]
    assert spool.pending == 6
    assert spool.was_unclean
    spool.close(clean=True)


def test_copies_that_nobody_has_checked_stay_unchecked_over_a_stop_in_order(tmp_path):
    first = Spool(tmp_path)
    first.open()
    first.close(clean=False)
    second = Spool(tmp_path)
    second.open()
    assert second.was_unclean
    second.close(clean=True)
    assert is_unclean(tmp_path)
    third = Spool(tmp_path)
    third.open()
    assert third.was_unclean
    third.checked()
    third.close(clean=True)
    assert not is_unclean(tmp_path)


def test_what_is_adopted_from_a_worker_that_died_is_unchecked(tmp_path):
    left = Spool(worker_folder(tmp_path, 1), worker=1)
    left.open()
    left.close(clean=False)
    first = Spool(tmp_path)
    first.open()
    assert first.was_unclean
    first.close(clean=True)
    assert is_unclean(tmp_path)
    assert not is_unclean(worker_folder(tmp_path, 1))


def test_the_board_counts_over_workers_and_forgets_the_dead():
    board = Board(-1, 2, 4)
    first = board.claim(0, "a", in_all=3, of_host=2)
    assert board.claim(1, "a", in_all=3, of_host=2) == 0
    assert board.claim(1, "a", in_all=3, of_host=2) == Full(2, 2)
    assert isinstance(board.claim(1, "b", in_all=3, of_host=2), int)
    assert board.claim(0, "c", in_all=3, of_host=2) == Full(3, 0)
    board.leave(0, first)
    assert board.claim(0, "c", in_all=3, of_host=2) == 0
    board.clear(1)
    assert (board.open(0), board.open(1)) == (1, 0)
    board.add_writing(0, 5)
    board.add_published(1, 17)
    board.add_finished(1, 10)
    assert board.pending() == 12
    board.clear(0)
    assert board.pending() == 7
    board.settle(1, 16)
    assert board.pending() == 7
    board.settle(1, 17)
    assert board.pending() == 0
    board.press(1)
    assert [board.take_pressure(n) for n in (0, 1, 1)] == [False, True, False]
