"""A spool that is full or read-only, Success that waits for the store, outages under load."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest

from hermes_common.events import InstanceRefused, InstanceStored
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_common.runtime.objectstore import StoreUnavailable
from hermes_receiver.core.backoff import delay


def associate(running, sample):
    return StorageAssociation.negotiate(
        "SENDER", "HERMES", "127.0.0.1", running.port, [(sample.sop_class, sample.syntax)]
    )


def send(running, sample, data=None):
    with associate(running, sample) as one:
        return one.c_store(sample.sop_class, sample.sop_instance, sample.syntax, data or sample.data)


@pytest.fixture
def small_volume(tmp_path):
    """A volume of two megabytes of its own; needs root."""
    folder = tmp_path / "volume"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "hermes-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a volume of its own needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def test_a_full_volume_is_refused_honestly_and_heals_by_itself(small_volume, make_receiver, ct):
    running = make_receiver(start=False, spool=small_volume / "spool")
    running.spool = small_volume / "spool"
    running.store.away = True
    running.start()
    try:
        with associate(running, ct) as one:
            answers = [one.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status for _ in range(80)]
        taken = answers.count(0)
        assert 10 < taken < 80
        assert set(answers) == {0, 0xA700}
        began = time.monotonic()
        assert send(running, ct).status == 0xA700
        assert time.monotonic() - began < 2
        assert not running.files("incoming")
        assert "full" in running.events(InstanceRefused)[0].reason
        running.store.away = False
        running.eventually(lambda: send(running, ct).status == 0, 20)
        running.events(InstanceStored, taken + 1)
        running.eventually(lambda: not running.files("ready"))
    finally:
        running.stop()


def test_a_read_only_spool_is_refused_honestly_and_heals_by_itself(small_volume, make_receiver, ct):
    running = make_receiver(start=False, spool=small_volume / "spool")
    running.spool = small_volume / "spool"
    running.start()
    try:
        assert send(running, ct).status == 0
        running.eventually(lambda: running.files("done"))
        incoming = running.spool / "incoming"
        mount("--bind", incoming, incoming)
        try:
            mount("-o", "remount,bind,ro", incoming)
            answer = send(running, ct)
        finally:
            subprocess.run(["umount", str(incoming)], check=True)
        assert answer.status == 0xA700
        assert "cannot be written" in answer.comment
        assert send(running, ct).status == 0
    finally:
        running.stop()


def test_a_volume_that_fills_up_in_mid_object_leaves_nothing(small_volume, make_receiver, ct):
    running = make_receiver(start=False, spool=small_volume / "spool")
    running.spool = small_volume / "spool"
    running.start()
    try:
        answer = send(running, ct, ct.data + bytes(4_000_000))
        assert answer.status == 0xA700
        assert "disk full" in answer.comment
        assert not running.files("incoming")
        assert running.receiver.spool.pending == 0
        assert send(running, ct).status == 0
    finally:
        running.stop()


def test_with_ack_stored_success_comes_after_the_object_and_the_event(make_receiver, ct):
    running = make_receiver(ack="stored")
    assert send(running, ct).status == 0
    (event,) = running.bus.of(InstanceStored)
    assert (running.store.root / event.key).exists()


@pytest.mark.parametrize("part", ["store", "bus"])
def test_with_ack_stored_an_outage_is_out_of_resources_and_others_are_served(make_receiver, ct, part, monkeypatch):
    running = make_receiver(start=False, ack="stored")
    quick = dataclasses.replace(running.settings.limits(), storing=timedelta(seconds=1))
    monkeypatch.setattr(type(running.settings), "limits", lambda self: quick)
    getattr(running, part).away = True
    running.start()
    try:
        answer = send(running, ct)
        assert answer.status == 0xA700
        assert "object store" in answer.comment
        getattr(running, part).away = False
        running.eventually(lambda: send(running, ct).status == 0, 20)
        running.events(InstanceStored, 2)
    finally:
        running.stop()


def test_store_and_bus_away_under_load_lose_nothing(receiver, ct):
    answered = []

    def sender() -> None:
        with associate(receiver, ct) as one:
            for _ in range(60):
                answered.append(one.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status)
                time.sleep(0.01)

    senders = [threading.Thread(target=sender) for _ in range(3)]
    for one in senders:
        one.start()
    for part in (receiver.store, receiver.bus, receiver.store):
        time.sleep(0.2)
        part.away = True
        time.sleep(0.3)
        receiver.store.away = receiver.bus.away = False
    for one in senders:
        one.join(30)
    assert answered == [0] * 180
    receiver.eventually(lambda: len({e.reception_id for e in receiver.bus.of(InstanceStored)}) == 180, 30)
    for event in receiver.bus.of(InstanceStored):
        assert (receiver.store.root / event.key).exists()


def test_with_the_directory_store_the_object_is_a_link_to_the_spool_file(receiver, ct):
    send(receiver, ct)
    (event,) = receiver.events(InstanceStored)
    (copy,) = receiver.eventually(lambda: receiver.files("done"))
    assert (receiver.store.root / event.key).samefile(copy)


def test_a_store_that_is_slow_does_not_slow_down_answers(make_receiver, ct):
    running = make_receiver(start=False)
    put = running.store.inner.put_file

    def slow(key, path):
        time.sleep(0.3)
        put(key, path)

    running.store.put_file = slow
    running.start()
    try:
        began = time.monotonic()
        with associate(running, ct) as one:
            for _ in range(20):
                assert one.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status == 0
        assert time.monotonic() - began < 5
        running.events(InstanceStored, 20)
    finally:
        running.stop()


def test_nothing_is_announced_of_objects_that_are_visible_but_not_durable(make_receiver, ct):
    running = make_receiver(start=False)
    lost = 0

    @contextmanager
    def forgetful():
        nonlocal lost
        yield running.store
        if lost < 2:
            lost += 1
            assert running.bus.of(InstanceStored) == []
            raise StoreUnavailable("the folder cannot be fsynced")

    running.store.together = forgetful
    running.start()
    try:
        for _ in range(5):
            assert send(running, ct).status == 0
        assert len({event.reception_id for event in running.events(InstanceStored, 5)}) == 5
        assert lost == 2
        assert running.eventually(lambda: not running.files("ready"))
        assert len(running.bus.of(InstanceStored)) == 5
    finally:
        running.stop()


def test_an_entry_that_the_store_refuses_does_not_hold_up_the_others(make_receiver, ct):
    running = make_receiver(start=False)
    put = running.store.inner.put_file
    refused: list[str] = []

    def picky(key, path):
        if not refused:
            refused.append(path.stem)
        if path.stem in refused:
            raise OSError(errno.EIO, "this one cannot be read")
        put(key, path)

    running.store.put_file = picky
    running.start()
    try:
        for _ in range(3):
            assert send(running, ct).status == 0
        running.events(InstanceStored, 2)
        assert refused[0] in running.eventually(running.receiver.uploads.uploader.problem)
    finally:
        running.stop()


def test_a_store_that_was_away_for_long_is_tried_within_seconds_of_its_return():
    waits = [delay(attempt, jitter) for attempt in range(1, 2000) for jitter in (0.0, 0.5, 0.999)]
    assert max(waits) <= timedelta(seconds=4)
    assert min(waits) >= timedelta(milliseconds=100)
