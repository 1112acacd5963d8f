"""What survives: outages of store and bus, kill -9, a store that forgot, a bit that flipped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.events import InstanceQuarantined, InstanceStored
from hermes_common.runtime.dicom.errors import AssociationError
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_common.runtime.objectstore import StoreUnavailable
from hermes_receiver.adapters.entry import read_entry
from hermes_receiver.adapters.spool import Spool, SpoolBusyError
from hermes_receiver.core.reception import NOTE_LENGTH
from hermes_receiver.handlers import uploading

CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from hermes_common.runtime.objectstore.directory import DirectoryStore
    from hermes_common.sources import Admission
    from hermes_receiver.app import build
    from hermes_receiver.settings import Settings

    class Bus:
        async def publish(self, event, event_id=None, time=None):
            return 1

        async def send(self, subject, body, headers=None):
            return 1

    async def main(root):
        settings = Settings(spool=root / "spool", dicom_host="127.0.0.1", dicom_port=0, spool_min_free_bytes=0)
        receiver = build(settings, DirectoryStore(root / "objects"), Bus(), lambda _: Admission())
        receiver.listener.start()
        print(receiver.listener.port, flush=True)
        await asyncio.gather(receiver.uploads.uploader.run(), receiver.announcer.run(), receiver.uploads.keep_copies())

    asyncio.run(main(Path(sys.argv[1])))
    """
)


def send(port, sample, times=1):
    with StorageAssociation.negotiate("SENDER", "HERMES", "127.0.0.1", port, [(sample.sop_class, sample.syntax)]) as a:
        return [
            a.c_store(sample.sop_class, sample.sop_instance, sample.syntax, sample.data).status for _ in range(times)
        ]


def flip(path):
    """Flip a bit of the data set."""
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)


def test_receiving_goes_on_while_store_and_bus_are_away_and_uploading_resumes(receiver, ct):
    receiver.store.away = receiver.bus.away = True
    assert send(receiver.port, ct, 3) == [0, 0, 0]
    receiver.eventually(receiver.receiver.uploads.uploader.problem)
    assert len(receiver.files("ready")) == 3
    receiver.store.away = False
    receiver.bus.away = False
    assert len({e.reception_id for e in receiver.events(InstanceStored, 3)}) == 3
    receiver.eventually(lambda: not receiver.files("ready"))
    receiver.eventually(lambda: receiver.receiver.spool.pending == 0)


def test_what_waits_in_the_spool_is_uploaded_by_the_next_receiver(make_receiver, ct, tmp_path):
    first = make_receiver(start=False)
    first.store.away = True
    first.start()
    assert send(first.port, ct, 2) == [0, 0]
    first.stop()
    second = make_receiver()
    events = second.events(InstanceStored, 2)
    stored = (second.store.root / events[0].key).read_bytes()
    assert stored[parse_file_meta(stored).offset :] == ct.data
    assert events[0].sender.calling_aet == "SENDER"
    assert events[0].tags["Modality"] == ["CT"]


@pytest.mark.parametrize(
    "point", ["spool.written", "spool.synced", "spool.renamed", "store.durable", "upload.stored", "upload.announced"]
)
def test_after_kill_9_at_any_point_everything_answered_with_success_is_uploaded(make_receiver, ct, tmp_path, point):
    environment = os.environ | {"HERMES_CRASH_POINT": f"{point}:3"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    with child:
        port = int(child.stdout.readline())
        answered = 0
        try:
            with StorageAssociation.negotiate("S", "H", "127.0.0.1", port, [(ct.sop_class, ct.syntax)]) as association:
                for _ in range(40):
                    answered += association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data).status == 0
        except AssociationError:
            pass
        assert child.wait(10) == -signal.SIGKILL
    assert answered >= 2
    running = make_receiver()
    assert running.receiver.spool.was_unclean
    assert not running.files("incoming")
    running.eventually(lambda: not running.files("ready"))
    objects = [p for p in running.store.root.rglob("*.dcm") if ".hermes" not in str(p)]
    assert answered <= len(objects) <= answered + 1
    for path in objects:
        stored = path.read_bytes()
        assert stored[parse_file_meta(stored).offset :] == ct.data


def test_after_an_unclean_stop_a_copy_that_the_store_lost_is_uploaded_again(make_receiver, ct):
    first = make_receiver(start=False).start()
    send(first.port, ct, 2)
    lost, kept = (e.key for e in first.events(InstanceStored, 2))
    first.eventually(lambda: len(first.files("done")) == 2)
    first.stop()
    (first.spool / "unclean").touch()
    (first.store.root / lost).unlink()
    second = make_receiver()
    assert [e.key for e in second.events(InstanceStored)] == [lost]
    assert (second.store.root / lost).exists()
    assert (second.store.root / kept).exists()


def test_a_store_that_has_names_without_bytes_gets_all_copies_again_and_is_not_asked_about_each(make_receiver, ct):
    """As SeaweedFS after a power cut: it knows name and size, and answers whoever wants the bytes with an error."""
    first = make_receiver(start=False).start()
    send(first.port, ct, 40)
    keys = {event.key for event in first.events(InstanceStored, 40)}
    first.eventually(lambda: len(first.files("done")) == 40)
    first.stop()
    (first.spool / "unclean").touch()
    second = make_receiver(start=False)
    asked = []

    def without_bytes(key):
        asked.append(key)
        raise StoreUnavailable("500 Internal Server Error")

    second.store.open = without_bytes
    second.start()
    assert {event.key for event in second.events(InstanceStored, 40)} == keys
    assert 1 <= len(asked) <= second.settings.upload_parallel
    second.stop()


def test_copies_are_kept_and_nothing_is_doubted_while_the_store_is_away_altogether(make_receiver, ct):
    first = make_receiver(start=False).start()
    send(first.port, ct, 3)
    first.events(InstanceStored, 3)
    first.eventually(lambda: len(first.files("done")) == 3)
    first.stop()
    (first.spool / "unclean").touch()
    second = make_receiver(start=False)
    second.store.away = True
    second.start()
    second.eventually(second.receiver.uploads.uploader.problem)
    second.store.away = False
    second.eventually(lambda: not (second.spool / "unchecked").exists())
    assert len(second.files("done")) == 3
    assert second.bus.of(InstanceStored) == []
    second.stop()


def test_a_clean_stop_leaves_no_marker(make_receiver):
    running = make_receiver(start=False).start()
    assert (running.spool / "unclean").exists()
    running.stop()
    assert not (running.spool / "unclean").exists()


def test_a_bit_that_flipped_in_the_spool_is_found_before_the_instance_is_announced(make_receiver, ct):
    first = make_receiver(start=False)
    first.store.away = True
    first.start()
    send(first.port, ct)
    first.stop()
    flip(first.files("ready")[0])
    second = make_receiver()
    event = second.events(InstanceQuarantined)[0]
    assert "not the bytes" in event.reason
    assert not second.bus.of(InstanceStored)


@pytest.fixture
def flipping(monkeypatch):
    """Flip a bit in every spool file before it is read for the first time."""
    flipped: set[Path] = set()

    def read(entry, path, selection):
        if path not in flipped:
            flipped.add(path)
            flip(path)
        return read_entry(entry, path, selection)

    monkeypatch.setattr(uploading, "read_entry", read)


def test_a_bit_that_flipped_right_after_the_answer_is_found(flipping, receiver, ct):
    assert send(receiver.port, ct) == [0]
    assert "not the bytes" in receiver.events(InstanceQuarantined)[0].reason
    assert not receiver.bus.of(InstanceStored)


def test_what_is_quarantined_at_the_upload_is_not_answered_with_success_where_success_means_stored(
    flipping, make_receiver, ct
):
    receiver = make_receiver(ack="stored")
    assert send(receiver.port, ct) == [0xA700]
    assert len(receiver.events(InstanceQuarantined)) == 1
    assert not receiver.bus.of(InstanceStored)


def test_what_is_found_in_the_spool_before_anybody_tells_of_it_is_answered_where_success_means_stored(
    make_receiver, ct, monkeypatch
):
    receiver = make_receiver(ack="stored")
    spool, uploader = receiver.receiver.spool, receiver.receiver.uploads.uploader
    publish = spool.publish

    def found_at_once(file, folder):
        publish(file, folder)
        receiver.call(uploader.look())
        receiver.call(uploader.idle())

    monkeypatch.setattr(spool, "publish", found_at_once)
    assert send(receiver.port, ct) == [0]
    assert len(receiver.events(InstanceStored)) == 1


@pytest.mark.parametrize("flipped", [False, True], ids=["whole", "with a bit that flipped"])
def test_a_spool_file_of_a_receiver_that_noted_its_sha256_is_verified_by_that(make_receiver, ct, flipped):
    first = make_receiver(start=False)
    first.store.away = True
    first.start()
    send(first.port, ct)
    first.stop()
    (path,) = first.files("ready")
    raw = bytearray(path.read_bytes())
    note = parse_file_meta(bytes(raw)).meta.private_information
    fields = json.loads(note)
    del fields["check"]
    earlier = json.dumps(fields | {"digest": hashlib.sha256(ct.data).hexdigest()}).encode().ljust(NOTE_LENGTH)
    at = raw.index(note)
    raw[at : at + NOTE_LENGTH] = earlier
    path.write_bytes(raw)
    if flipped:
        flip(path)
    second = make_receiver()
    if flipped:
        assert "not the bytes" in second.events(InstanceQuarantined)[0].reason
    else:
        assert second.events(InstanceStored)[0].digest == hashlib.sha256(ct.data).hexdigest()


def test_a_destroyed_spool_file_stays_and_does_not_stop_the_others(make_receiver, ct):
    first = make_receiver(start=False)
    first.store.away = True
    first.start()
    send(first.port, ct, 2)
    first.stop()
    damaged = first.files("ready")[0]
    damaged.write_bytes(b"nothing")
    second = make_receiver()
    assert len(second.events(InstanceStored)) == 1
    assert damaged in second.files("ready")
    assert "DICM" in second.eventually(second.receiver.uploads.uploader.problem)


def test_two_receivers_cannot_share_a_spool(receiver):
    other = Spool(receiver.spool)
    with pytest.raises(SpoolBusyError, match="HERMES_SPOOL"):
        other.open()


def test_copies_are_removed_after_the_grace_period(make_receiver, ct):
    running = make_receiver(spool_grace="1s")
    send(running.port, ct)
    running.events(InstanceStored)
    running.eventually(lambda: running.files("done"))
    running.eventually(lambda: not running.files("done"))
    assert next(Path(running.store.root).rglob("*.dcm")).exists()


def test_a_disk_that_fails_in_mid_object_is_an_honest_answer(receiver, ct, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert send(receiver.port, ct, 2) == [0xA700, 0xA700]
    monkeypatch.undo()
    assert not receiver.files("incoming")
    assert not receiver.files("ready")
    assert receiver.receiver.spool.pending == 0
    assert send(receiver.port, ct) == [0]
