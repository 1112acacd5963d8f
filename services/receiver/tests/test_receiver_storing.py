"""C-STORE and C-ECHO over a real socket."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from hermes_common.events import (
    AssociationClosed,
    AssociationOpened,
    AssociationRejected,
    InstanceQuarantined,
    InstanceRefused,
    InstanceStored,
)
from hermes_common.runtime.dicom.errors import AssociationRejected as Rejected
from hermes_common.runtime.dicom.requestor import StorageAssociation

FILES = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "ExplVR_BigEnd.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "MR_small_implicit.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
]


def associate(running, *contexts):
    return StorageAssociation.negotiate("SENDER", "HERMES", "127.0.0.1", running.port, contexts)


def store(running, sample, data=None, **over):
    sop_class = over.get("sop_class", sample.sop_class)
    with associate(running, (sop_class, sample.syntax)) as association:
        instance = over.get("sop_instance", sample.sop_instance)
        return association.c_store(sop_class, instance, sample.syntax, sample.data if data is None else data)


def test_a_verification_is_answered_with_success(receiver):
    with associate(receiver, (VERIFICATION, IMPLICIT_LITTLE)) as association:
        assert association.c_echo().code == 0
    closed = receiver.events(AssociationClosed)[0]
    assert closed.instances == 0


@pytest.mark.parametrize("name", FILES)
def test_an_instance_is_stored_bit_identical_and_announced(receiver, sample, name):
    one = sample(name)
    result = store(receiver, one)
    assert result.status == 0
    event = receiver.events(InstanceStored)[0]
    stored = (receiver.store.root / event.key).read_bytes()
    part10 = parse_file_meta(stored)
    assert stored[part10.offset :] == one.data
    assert event.digest == hashlib.sha256(one.data).hexdigest()
    assert event.octets == len(stored)
    assert part10.meta.transfer_syntax == one.syntax == event.transfer_syntax_uid
    assert event.sender.calling_aet == "SENDER"
    assert event.sop_instance_uid == one.sop_instance
    receiver.eventually(lambda: receiver.files("done"))
    assert not receiver.files("ready")
    assert not receiver.files("incoming")


def test_what_the_policies_add_is_read_from_the_next_instance_on(make_receiver, sample):
    running = make_receiver(extra_tags=["DateOfSecondaryCapture"])
    first, second = sample("CT_small.dcm"), sample("MR_small_implicit.dcm")
    private = "(0043,104E)"  # of GEMS_PARM_01, FL
    assert store(running, first).status == 0
    assert private not in running.events(InstanceStored)[0].tags
    running.extra_tags = (private, "PixelSpacing", "RescaleIntercept")
    with associate(running, (first.sop_class, first.syntax), (second.sop_class, second.syntax)) as association:
        again = association.c_store(first.sop_class, first.sop_instance, first.syntax, first.data)
        assert again.status == 0
        added = running.events(InstanceStored, 2)[1].tags
        assert added["(0043,0010)"] == ["GEMS_PARM_01"]
        assert float(added[private][0]) > 0
        assert added["RescaleIntercept"] == ["-1024"]
        running.extra_tags = ()
        other = association.c_store(second.sop_class, second.sop_instance, second.syntax, second.data)
        assert other.status == 0
    assert "(0043,0010)" not in running.events(InstanceStored, 3)[2].tags


def test_the_event_id_is_the_reception_id_and_the_key_ends_with_it(receiver, ct):
    store(receiver, ct)
    event = receiver.events(InstanceStored)[0]
    ids = [event_id for event_id, e in receiver.bus.events if e is event]
    assert ids == [event.reception_id]
    assert event.key.endswith(f"{event.reception_id}.dcm")


def test_association_events_carry_the_counts(receiver, ct):
    with associate(receiver, (ct.sop_class, ct.syntax)) as association:
        for _ in range(3):
            association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data)
        association.c_store(ct.sop_class, "1.2.3", ct.syntax, ct.data)
    closed = receiver.events(AssociationClosed)[0]
    assert (closed.instances, closed.refused, closed.octets) == (3, 1, 3 * len(ct.data))
    assert len(receiver.events(AssociationOpened)) == 1
    assert len({e.key for e in receiver.events(InstanceStored, 3)}) == 3


@pytest.mark.parametrize(
    "abstract", ["1.2.840.10008.5.1.4.1.1.88.99", "1.2.826.0.1.3680043.9.9.9", "1.2.840.10008.5.1.4.1.1.6"]
)
def test_unknown_private_and_retired_storage_classes_are_accepted(receiver, abstract):
    with associate(receiver, (abstract, EXPLICIT_LITTLE)) as association:
        assert association.accepts(abstract, EXPLICIT_LITTLE)


@pytest.mark.parametrize(
    "context",
    [
        ("1.2.840.10008.5.1.4.1.2.2.1", EXPLICIT_LITTLE),
        ("1.2.840.10008.5.1.4.31", EXPLICIT_LITTLE),
        ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5"),
    ],
)
def test_other_services_and_unknown_transfer_syntaxes_are_refused(receiver, context):
    with associate(receiver, context, (VERIFICATION, IMPLICIT_LITTLE)) as association:
        assert not association.accepts(*context)
        assert association.c_echo().code == 0


@pytest.mark.parametrize("instance", ["1.2.3", "../../etc/x", "1..2", ""])
def test_a_uid_that_differs_from_the_data_set_is_a_mismatch_and_goes_to_quarantine(receiver, ct, instance):
    result = store(receiver, ct, sop_instance=instance)
    assert result.status == 0xA900
    event = receiver.events(InstanceQuarantined)[0]
    assert event.status == 0xA900
    assert "differ" in event.reason
    assert parse_file_meta((receiver.store.root / event.key).read_bytes()).meta.transfer_syntax == ct.syntax


def test_another_sop_class_is_a_mismatch(receiver, ct):
    assert store(receiver, ct, sop_class="1.2.840.10008.5.1.4.1.1.4").status == 0xA900


def test_missing_and_invalid_uids_and_garbage_are_cannot_understand(receiver, ct):
    series = b"\x20\x00\x0e\x00UI"
    at = ct.data.index(series)
    length = int.from_bytes(ct.data[at + 6 : at + 8], "little")
    without = ct.data[:at] + ct.data[at + 8 + length :]
    hostile = ct.data[: at + 8] + b"../../x".ljust(length, b"\0") + ct.data[at + 8 + length :]
    assert store(receiver, ct, without).status == 0xC001
    assert store(receiver, ct, hostile).status == 0xC002
    assert store(receiver, ct, b"\xff" * 1000).status in (0xC000, 0xC001)
    assert store(receiver, ct, b"").status in (0xC000, 0xC001)
    reasons = [e.reason for e in receiver.events(InstanceQuarantined, 4)]
    assert all(reasons)
    assert not receiver.files("incoming")


def test_a_full_spool_answers_out_of_resources_keeps_nothing_and_the_association_lives(make_receiver, ct):
    running = make_receiver(spool_max_bytes=len(ct.data) // 2)
    with associate(running, (ct.sop_class, ct.syntax), (VERIFICATION, IMPLICIT_LITTLE)) as association:
        result = association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, [ct.data[:20000], ct.data[20000:]])
        second = association.c_store(ct.sop_class, ct.sop_instance, ct.syntax, ct.data * 8)
        assert association.c_echo().code == 0
    assert second.status == 0xA700
    assert "spool full" in second.comment
    assert result.status in (0, 0xA700)
    assert running.events(InstanceRefused)[0].status == 0xA700
    assert not running.files("incoming")


def test_too_little_free_space_answers_out_of_resources(make_receiver, ct):
    running = make_receiver(spool_min_free_bytes=2**62)
    result = store(running, ct)
    assert result.status == 0xA700
    assert "disk full" in result.comment


def test_a_data_set_beyond_the_size_limit_is_refused(make_receiver, ct):
    running = make_receiver(instance_max_bytes=30000)
    assert store(running, ct).status == 0xC003
    assert not running.files("incoming")


def test_a_forbidden_source_is_rejected_and_announced(receiver, ct):
    receiver.judge = lambda calling, called, address: f"no {calling}"
    with pytest.raises(Rejected) as caught:
        associate(receiver, (ct.sop_class, ct.syntax))
    assert (caught.value.result, caught.value.source, caught.value.reason) == (1, 1, 3)
    assert receiver.events(AssociationRejected)[0].reason == "no SENDER"


def test_one_association_too_many_is_rejected_for_now(make_receiver):
    running = make_receiver(max_associations=1)
    with associate(running, (VERIFICATION, IMPLICIT_LITTLE)):
        with pytest.raises(Rejected) as caught:
            associate(running, (VERIFICATION, IMPLICIT_LITTLE))
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 2)
        assert caught.value.is_transient
    running.events(AssociationClosed)
    running.eventually(lambda: associate(running, (VERIFICATION, IMPLICIT_LITTLE)).release() or True)


def test_dcmtk_storescu_sends_with_its_default_settings(receiver, ct, storescu):
    done = subprocess.run(
        [storescu, "-aet", "DCMTK", "127.0.0.1", str(receiver.port), str(ct.path), str(ct.path)],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = receiver.events(InstanceStored, 2)
    assert events[0].sender.calling_aet == "DCMTK"
    assert events[0].tags["Modality"] == ["CT"]


def test_large_heads_are_read_from_the_file(make_receiver, ct):
    private = (
        b"\x09\x00\x10\x00LO\x04\x00TEST" + b"\x09\x00\x01\x10OB\0\0" + (600_000).to_bytes(4, "little") + bytes(600_000)
    )
    at = ct.data.index(b"\x10\x00\x10\x00PN")
    running = make_receiver()
    assert store(running, ct, ct.data[:at] + private + ct.data[at:]).status == 0
    assert running.events(InstanceStored)[0].tags["Modality"] == ["CT"]


def test_nothing_that_a_sender_says_becomes_a_path(receiver, ct, tmp_path: Path):
    store(receiver, ct, sop_instance="../../../../x")
    receiver.events(InstanceQuarantined)
    receiver.eventually(lambda: receiver.files("done"))
    names = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert not any(".." in name or name == "x" for name in names)
