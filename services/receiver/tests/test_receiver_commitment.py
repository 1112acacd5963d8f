"""Storage commitment (PS3.4 J) with pynetdicom as the sender that asks, on both ways of answering."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import threading
from datetime import timedelta

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from hermes_common import subjects
from hermes_common.config import CommitmentAddress, Source, Sources
from hermes_common.dicom.commitment import (
    CommitmentResult,
    InvalidCommitmentRequest,
    Reference,
    encode_result,
    parse_request,
    result_dataset,
)
from hermes_common.dicom.uids import COMMITMENT_INSTANCE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hermes_common.events import (
    CommitmentAnswered,
    CommitmentFailed,
    CommitmentReported,
    CommitmentRequested,
    InstanceStored,
    Sender,
)
from hermes_common.records import TransactionRecord
from hermes_common.runtime.clock import now
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_common.runtime.objectstore import StoreUnavailable
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_receiver.adapters.holdings import Holdings, IndexingPublisher
from hermes_receiver.adapters.spool import Spool, ready_folders, worker_folder
from hermes_receiver.core import commitment as core
from hermes_receiver.handlers import committing

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Instances that are not found are given up after a moment, answers are offered again at once."""
    monkeypatch.setattr(committing, "SETTLE", timedelta(milliseconds=500))
    monkeypatch.setattr(core, "_FIRST", timedelta(milliseconds=50))


class Asker:
    """A sender: asks, and takes results on its own association or on its own port."""

    def __init__(self) -> None:
        self.results: list[Dataset] = []
        self.types: list[int] = []
        self.arrived = threading.Event()
        self.status = 0x0000
        self.ae = AE(ae_title="ASKER")
        self.ae.acse_timeout = self.ae.dimse_timeout = self.ae.network_timeout = 10
        self.ae.add_requested_context(StorageCommitmentPushModel, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
        self.ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self._on_report)]

    def _on_report(self, event: evt.Event):
        if self.status == 0:
            self.results.append(event.event_information)
            self.types.append(event.event_type)
            self.arrived.set()
        return self.status, None

    def listen(self, port: int = 0, tls: ssl.SSLContext | None = None):
        return self.ae.start_server(("127.0.0.1", port), block=False, evt_handlers=self.handlers, ssl_context=tls)

    def ask(self, running, references, transaction=None, *, stay=True, action=1, instance=COMMITMENT_INSTANCE):
        """Return the status of the N-ACTION; with ``stay``, wait for the result on the same association."""
        association = self.ae.associate(
            "127.0.0.1", running.port, ae_title="HERMES", evt_handlers=self.handlers if stay else []
        )
        assert association.is_established
        data = request(references, transaction)
        answer, _ = association.send_n_action(data, action, StorageCommitmentPushModel, instance)
        if stay and answer.Status == 0:
            assert self.arrived.wait(10)
        association.release()
        return answer.Status

    def failed(self, n: int = 0) -> dict[str, int]:
        sequence = self.results[n].get("FailedSOPSequence") or []
        return {item.ReferencedSOPInstanceUID: item.FailureReason for item in sequence}

    def committed(self, n: int = 0) -> set[str]:
        return {item.ReferencedSOPInstanceUID for item in self.results[n].get("ReferencedSOPSequence") or []}


def request(references, transaction=None) -> Dataset:
    data = Dataset()
    data.TransactionUID = transaction or generate_uid()
    data.ReferencedSOPSequence = []
    for sop_class, sop_instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
        data.ReferencedSOPSequence.append(item)
    return data


@pytest.fixture
def asker():
    return Asker()


def send(running, sample, instances=None):
    """Store copies of the sample under other SOP instance UIDs of the same length."""
    uids = instances or [sample.sop_instance]
    with StorageAssociation.negotiate(
        "ASKER", "HERMES", "127.0.0.1", running.port, [(sample.sop_class, sample.syntax)]
    ) as association:
        for uid in uids:
            data = sample.data.replace(sample.sop_instance.encode(), uid.encode())
            assert association.c_store(sample.sop_class, uid, sample.syntax, [data]).status == 0
    return [(sample.sop_class, uid) for uid in uids]


def others(sample, count: int) -> list[str]:
    stem = sample.sop_instance[:-5]
    return [f"{stem}{n:05d}" for n in range(10000, 10000 + count)]


def test_what_is_held_is_committed_on_the_same_association_and_what_is_unknown_is_not(receiver, ct, asker):
    references = send(receiver, ct)
    receiver.events(InstanceStored)
    assert asker.ask(receiver, [*references, (CT, "1.2.3.4"), ("1.2.3", ct.sop_instance)], "1.2.9.1") == 0
    assert asker.results[0].TransactionUID == "1.2.9.1"
    assert asker.types == [2]
    assert asker.committed() == {ct.sop_instance}
    assert asker.failed() == {"1.2.3.4": 0x0112, ct.sop_instance: 0x0119}
    reported = receiver.events(CommitmentReported)[0]
    assert (reported.committed, reported.failed, reported.where) == (1, 2, "same association")
    assert receiver.events(CommitmentRequested)[0].instances == 3
    receiver.eventually(lambda: not receiver.files("commitments"))


def test_five_hundred_instances_are_committed_with_one_request(receiver, ct, asker):
    references = send(receiver, ct, others(ct, 500))
    assert asker.ask(receiver, references) == 0
    assert asker.types == [1]
    assert len(asker.committed()) == 500


def test_an_instance_that_is_only_in_the_spool_is_held(receiver, ct, asker, monkeypatch):
    def away(key, path):
        raise StoreUnavailable("away")

    monkeypatch.setattr(receiver.store, "put_file", away)  # it answers, and takes nothing
    references = send(receiver, ct)
    assert receiver.files("ready")
    assert asker.ask(receiver, references) == 0
    assert asker.types == [1]
    assert not receiver.bus.of(InstanceStored)


def test_while_the_bus_is_away_a_request_waits_and_nothing_is_claimed(receiver, ct, asker):
    references = send(receiver, ct)
    receiver.events(InstanceStored)
    receiver.bus.away = True
    server = asker.listen()
    receiver.sources = told_where(server.server_address[1])
    assert asker.ask(receiver, references, stay=False) == 0
    assert not asker.arrived.wait(1)
    assert len(receiver.files("commitments")) == 1
    receiver.bus.away = False
    assert asker.arrived.wait(10)
    assert asker.types == [1]
    server.shutdown()


def test_an_instance_that_retention_has_deleted_is_a_failure(receiver, ct, asker):
    references = send(receiver, ct)
    (receiver.store.root / receiver.events(InstanceStored)[0].key).unlink()
    assert asker.ask(receiver, references) == 0
    assert asker.failed() == {ct.sop_instance: 0x0112}


def told_where(port: int, *, tls: bool = False) -> Sources:
    address = CommitmentAddress(host="127.0.0.1", port=port, tls=tls)
    return Sources(sources=(Source(slug="asker", name="Asker", calling_aet="ASKER", commitment=address),))


def test_a_sender_that_leaves_gets_its_result_on_a_new_association(receiver, ct, asker):
    references = send(receiver, ct)
    server = asker.listen()
    receiver.sources = told_where(server.server_address[1])
    assert asker.ask(receiver, references, stay=False) == 0
    assert asker.arrived.wait(10)
    assert asker.committed() == {ct.sop_instance}
    assert receiver.events(CommitmentReported)[0].where == f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_result_is_given_over_tls_with_the_certificate_of_the_receiver_and_only_to_whom_it_trusts(
    make_receiver, ct, asker, authority, tmp_path
):
    cert, key = authority.issue("receiver", "/CN=receiver")
    running = make_receiver(dicom_tls_cert=cert, dicom_tls_key=key, dicom_tls_ca=authority.ca, dicom_tls_port=0)
    references = send(running, ct)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("asker", "/CN=asker"))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = asker.listen(tls=context)
    running.sources = told_where(server.server_address[1], tls=True)
    assert asker.ask(running, references, stay=False) == 0
    assert asker.arrived.wait(10)
    assert asker.committed() == {ct.sop_instance}
    server.shutdown()
    (tmp_path / "others").mkdir()
    stranger = type(authority)(tmp_path / "others").issue("stranger", "/CN=stranger")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*stranger)
    asker.arrived.clear()
    server = asker.listen(tls=context)
    running.sources = told_where(server.server_address[1], tls=True)
    assert asker.ask(running, references, stay=False) == 0
    running.eventually(lambda: any(b'"attempts":2' in f.read_bytes() for f in running.files("commitments")))
    assert not asker.arrived.is_set()
    server.shutdown()


def test_a_result_is_offered_again_until_it_is_taken(receiver, ct, asker):
    references = send(receiver, ct)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    receiver.sources = told_where(port)
    assert asker.ask(receiver, references, stay=False) == 0
    receiver.eventually(lambda: any(b'"attempts":1' in f.read_bytes() for f in receiver.files("commitments")))
    asker.status = 0x0110
    server = asker.listen(port)
    receiver.eventually(lambda: any(b'"attempts":2' in f.read_bytes() for f in receiver.files("commitments")))
    asker.status = 0x0000
    assert asker.arrived.wait(10)
    assert receiver.events(CommitmentReported)[0].attempts >= 3
    server.shutdown()


def test_after_the_last_attempt_it_is_said_that_the_result_was_not_taken(receiver, ct, asker, monkeypatch):
    monkeypatch.setattr(core, "MAX_ATTEMPTS", 2)
    references = send(receiver, ct)
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver.sources = told_where(free.getsockname()[1])
    assert asker.ask(receiver, references, stay=False) == 0
    failed = receiver.events(CommitmentFailed)[0]
    assert failed.attempts == 2
    receiver.eventually(lambda: not receiver.files("commitments"))


def test_without_an_address_it_is_said_what_is_missing(receiver, ct, asker):
    assert asker.ask(receiver, send(receiver, ct), stay=False) == 0
    assert "no source entry says where" in receiver.events(CommitmentFailed)[0].reason


def test_a_request_survives_the_end_of_its_receiver(make_receiver, ct, asker):
    running = make_receiver(start=False)
    running.start()
    references = send(running, ct)
    running.events(InstanceStored)
    running.bus.away = True
    assert asker.ask(running, references, stay=False) == 0
    running.stop()
    assert len(running.files("commitments")) == 1
    server = asker.listen()
    again = make_receiver(start=False)
    again.bus.records = running.bus.records
    again.sources = told_where(server.server_address[1])
    again.start()
    try:
        assert asker.arrived.wait(10)
        assert asker.types == [1]
    finally:
        again.stop()
        server.shutdown()


def test_a_transaction_uid_in_use_is_refused_for_another_request_and_one_for_the_same(receiver, ct, asker):
    receiver.bus.away = True
    references = send(receiver, ct)
    assert asker.ask(receiver, references, "1.2.9.7", stay=False) == 0
    assert asker.ask(receiver, references, "1.2.9.7", stay=False) == 0
    assert asker.ask(receiver, [(CT, "1.2.3")], "1.2.9.7", stay=False) == 0x0131
    assert len(receiver.files("commitments")) == 1
    receiver.bus.away = False


@pytest.mark.parametrize(
    ("references", "more", "status"),
    [
        ([(CT, "1.2")], {"action": 2}, 0x0123),
        ([(CT, "1.2")], {"instance": "1.2.3"}, 0x0112),
        ([], {}, 0x0115),
    ],
)
def test_a_request_that_is_none_is_refused(receiver, asker, references, more, status):
    assert asker.ask(receiver, references, stay=False, **more) == status
    assert not receiver.files("commitments")


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_results_are_written_as_they_are_read(syntax):
    one, two = Reference(CT, "1.2.3"), Reference(CT, "1.2.4")
    raw = encode_result(CommitmentResult("1.9", (one, two)), syntax)
    assert parse_request(raw, syntax).references == (one, two)


@pytest.mark.parametrize("raw", [b"", b"\x08\x00", b"\xff" * 64, b"\x08\x00\x99\x11SQ\0\0\xff\xff\xff\xff" * 3000])
def test_bytes_that_are_no_request_are_a_clear_refusal(raw):
    with pytest.raises(InvalidCommitmentRequest):
        parse_request(raw, EXPLICIT_LITTLE)


@pytest.mark.servers
async def test_what_is_announced_on_a_real_bus_is_found_there_by_its_sop_instance(bus, tmp_path):
    store = DirectoryStore(tmp_path / "objects")
    spool = Spool(tmp_path / "spool")
    spool.open()
    sample = tmp_path / "one.dcm"
    sample.write_bytes(b"an object")
    publisher, holdings = IndexingPublisher(bus, bus), Holdings(bus, store, [tmp_path / "spool" / "ready"])
    for number in (3, 4):
        stored = InstanceStored(
            reception_id=f"{number:032x}",
            association_id="a",
            series_uid="1.2",
            study_uid="1.1",
            sop_instance_uid=f"1.2.{number}",
            sop_class_uid=CT,
            transfer_syntax_uid=EXPLICIT_LITTLE,
            key=f"1.2/1.2.{number}-0123456789abcdef-{number:032x}.dcm",
            digest="0" * 64,
            octets=9,
            received_at=now(),
            sender=Sender(calling_aet="A", called_aet="B", address="10.0.0.1"),
            tags={},
        )
        await publisher.publish(stored, stored.reception_id)
        if number == 3:
            store.put_file(stored.key, sample)
    assert await holdings.held(["1.2.3", "1.2.4", "1.2.5"]) == {"1.2.3": CT}
    spool.close(clean=True)
    store.close()


@pytest.mark.parametrize("asked", [0, 1], ids=["the first worker is asked", "the second worker is asked"])
def test_what_waits_in_the_spool_of_any_worker_is_held(make_receiver, ct, tmp_path, asked):
    running = make_receiver(start=False)
    running.store.away = True
    running.start()
    send(running, ct)
    (waiting,) = running.files("ready")
    root = tmp_path / "receiver"
    for worker in (0, 1):
        worker_folder(root, worker).joinpath("ready").mkdir(parents=True)
    shutil.copy(waiting, worker_folder(root, 1) / "ready")
    running.stop()
    store = DirectoryStore(tmp_path / "nothing")
    holdings = Holdings(NoRecords(), store, ready_folders(worker_folder(root, asked), asked, 2))
    assert asyncio.run(holdings.held([ct.sop_instance, "1.2.5"])) == {ct.sop_instance: ct.sop_class}
    store.close()


class NoRecords:
    """A bus on which nothing has been announced."""

    async def load(self, bucket, key, model):
        return None


def report(running, transaction: str, committed: list[str], failed: dict[str, int], *, event_type: int = 0) -> int:
    """Report a result as a target does that we asked: on an association of its own, in the role of the SCP."""
    entity = AE(ae_title="ARCHIVE")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    entity.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    association = entity.associate("127.0.0.1", running.port, ae_title="HERMES", ext_neg=[role])
    assert association.is_established
    assert [context.as_scp for context in association.accepted_contexts] == [True]
    kept = tuple(Reference(CT, uid) for uid in committed)
    lost = tuple((Reference(CT, uid), reason) for uid, reason in failed.items())
    data = result_dataset(CommitmentResult(transaction, kept, lost))
    kind = event_type or (2 if failed else 1)
    answer, _ = association.send_n_event_report(data, kind, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
    association.release()
    return answer.Status


def asked(running, transaction: str) -> None:
    """Note a transaction as the dispatcher does before it asks."""
    record = TransactionRecord(
        transaction_uid=transaction, delivery_id="d-1", series_uid="1.2.3", study_uid="1.2", batch_id="b", target="pacs"
    )
    key = f"$KV.{subjects.HELD}.{subjects.transaction(transaction)}"
    running.call(running.bus.send(key, record.model_dump_json().encode()))


def test_a_target_that_calls_back_is_answered_with_success_when_its_result_is_durable(receiver):
    asked(receiver, "2.25.17")
    uids = [f"1.2.3.{n}" for n in range(700)]
    assert report(receiver, "2.25.17", uids, {"1.2.4.1": 0x0112}) == 0
    said = receiver.events(CommitmentAnswered, 2)
    assert [uid for event in said for uid in event.committed] == uids
    assert [(each.sop_instance_uid, each.reason) for event in said for each in event.failed] == [("1.2.4.1", 0x0112)]
    assert {(event.delivery_id, event.target, event.parts) for event in said} == {("d-1", "pacs", 2)}


def test_a_result_is_refused_that_nobody_waits_for_or_that_makes_no_sense_or_cannot_be_kept(receiver):
    asked(receiver, "2.25.17")
    assert report(receiver, "2.25.18", ["1.2.3.1"], {}) == 0x0115
    assert report(receiver, "2.25.17", ["1.2.3.1"], {}, event_type=7) == 0x0113
    receiver.bus.away = True
    assert report(receiver, "2.25.17", ["1.2.3.1"], {}) == 0x0213
    receiver.bus.away = False
    assert receiver.bus.of(CommitmentAnswered) == []
    assert report(receiver, "2.25.17", ["1.2.3.1"], {}) == 0
