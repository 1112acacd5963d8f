"""Peers that are slow, broken or hostile: each ends within its limit, and an honest sender is served meanwhile."""

from __future__ import annotations

import dataclasses
import random
import socket
import struct
import time

import pytest

from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import ProposedContext, encode_request
from hermes_common.dicom.command import echo_request, encode_command, store_request
from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.events import AssociationAborted, InstanceStored
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_receiver import settings as settings_module
from hermes_receiver.core.limits import Limits


@pytest.fixture
def hasty(make_receiver, monkeypatch):
    """A receiver with limits of a second instead of half a minute."""

    def limits(self) -> Limits:
        from datetime import timedelta

        second = timedelta(seconds=1)
        return dataclasses.replace(
            Limits(),
            request=second,
            transfer=second,
            idle=second,
            waiting_connections=10,
            free_bytes=0,
            farewell=second / 10,
        )

    monkeypatch.setattr(settings_module.Settings, "limits", limits)
    return make_receiver()


def connected(running):
    sock = socket.create_connection(("127.0.0.1", running.port), timeout=5)
    sock.settimeout(10)
    return sock


def answer(sock) -> tuple[int, bytes]:
    head = b""
    while len(head) < 6:
        got = sock.recv(6 - len(head))
        if not got:
            return 0, b""
        head += got
    kind, length = pdus.parse_header(head)
    body = b""
    while len(body) < length:
        body += sock.recv(length - len(body))
    return kind, body


def associated(running, sop_class, syntax):
    sock = connected(running)
    contexts = [ProposedContext(1, sop_class, (syntax,)), ProposedContext(3, VERIFICATION, (IMPLICIT_LITTLE,))]
    sock.sendall(encode_request("HOSTILE", "HERMES", contexts))
    assert answer(sock)[0] == pdus.PduType.ASSOCIATE_AC
    return sock


def data(sample, part, last=False, context=1):
    return pdus.p_data_head(context, len(part), is_command=False, is_last=last) + part


def honest_echo(running) -> float:
    began = time.monotonic()
    with StorageAssociation.negotiate(
        "HONEST", "HERMES", "127.0.0.1", running.port, [(VERIFICATION, IMPLICIT_LITTLE)]
    ) as a:
        assert a.c_echo().code == 0
    return time.monotonic() - began


def is_closed(sock) -> bool:
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_silence_and_half_a_request_are_closed_and_do_not_hold_up_others(hasty):
    silent = [connected(hasty) for _ in range(15)]
    for sock in silent[5:]:
        sock.sendall(b"\x01\x00\x00\x00\x00\xce\x00\x01")
    assert honest_echo(hasty) < 2
    assert all(is_closed(sock) for sock in silent)
    for sock in silent:
        sock.close()


def test_a_length_of_four_gigabytes_is_refused_at_once(hasty):
    for head in (
        b"\x01\x00\xff\xff\xff\xff",
        b"\x04\x00\xff\xff\xff\xff",
        b"\x09\x00\x00\x00\x00\x04",
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        sock = connected(hasty)
        sock.sendall(head)
        kind, _ = answer(sock)
        assert kind == pdus.PduType.ABORT
        assert is_closed(sock)
        sock.close()


def test_a_pdu_longer_than_offered_aborts_the_association(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    sock.sendall(struct.pack(">BxL", 4, 131_073))
    assert answer(sock)[0] == pdus.PduType.ABORT
    sock.close()
    assert "131073" in hasty.events(AssociationAborted)[0].reason


def test_an_abort_in_mid_object_leaves_nothing_and_the_instances_before_it(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    request = pdus.command_pdus(1, store_request(1, ct.sop_class, ct.sop_instance), 16384)
    sock.sendall(request + data(ct, ct.data, last=True))
    assert answer(sock)[0] == pdus.PduType.P_DATA
    sock.sendall(request + data(ct, ct.data[:5000]))
    hasty.eventually(lambda: hasty.files("incoming"))
    sock.sendall(pdus.abort(pdus.AbortSource.SERVICE_USER))
    sock.close()
    aborted = hasty.events(AssociationAborted)[0]
    assert aborted.instances == 1
    assert not hasty.files("incoming")
    assert len(hasty.events(InstanceStored)) == 1
    hasty.eventually(lambda: hasty.receiver.spool.pending == 0)
    assert not hasty.files("ready")


def test_a_broken_connection_in_mid_object_leaves_nothing(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    sock.sendall(
        pdus.command_pdus(1, store_request(1, ct.sop_class, ct.sop_instance), 16384) + data(ct, ct.data[:5000])[:4000]
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    hasty.events(AssociationAborted)
    assert not hasty.files("incoming")
    assert not hasty.files("ready")


def test_silence_in_mid_object_is_aborted(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    sock.sendall(
        pdus.command_pdus(1, store_request(1, ct.sop_class, ct.sop_instance), 16384) + data(ct, ct.data[:5000])
    )
    assert answer(sock)[0] == pdus.PduType.ABORT
    sock.close()
    assert "time limit" in hasty.events(AssociationAborted)[0].reason
    assert not hasty.files("incoming")


@pytest.mark.parametrize(
    "evil",
    [
        lambda ct: data(ct, b"1234", last=True),
        lambda ct: data(ct, b"1234", last=True, context=99),
        lambda ct: pdus.p_data_head(1, 0, is_command=True, is_last=True),
        lambda ct: b"\x04\x00\x00\x00\x00\x04\x00\x00\x00\x01",
        lambda ct: b"\x04\x00\x00\x00\x00\x08\x00\x00\xff\xff\x01\x03ab",
        lambda ct: pdus.command_pdus(1, encode_command({0x0100: 0x8001, 0x0800: 0x0101, 0x0900: 0}), 16384),
        lambda ct: pdus.command_pdus(1, b"\x10\x00\x10\x00\x04\x00\x00\x00abcd", 16384),
        lambda ct: pdus.command_pdus(1, store_request(1, ct.sop_class, "1.2"), 16384) + pdus.release_request(),
        lambda ct: pdus.command_pdus(1, store_request(1, ct.sop_class, "1.2"), 16384) * 2,
        lambda ct: pdus.p_data_head(1, 60000, is_command=True, is_last=False) * 1 + bytes(60000),
        lambda ct: pdus.release_response(),
    ],
)
def test_what_the_protocol_forbids_aborts_only_its_own_association(hasty, ct, evil):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    sock.sendall(evil(ct))
    assert answer(sock)[0] == pdus.PduType.ABORT
    assert is_closed(sock)
    sock.close()
    assert hasty.events(AssociationAborted)[0].reason
    assert honest_echo(hasty) < 2


def test_an_unknown_request_is_answered_and_a_pdu_without_values_is_nothing(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    find = encode_command({0x0002: "1.2.840.10008.5.1.4.1.2.2.1", 0x0100: 0x0020, 0x0110: 7, 0x0800: 0x0101})
    sock.sendall(b"\x04\x00\x00\x00\x00\x00" + pdus.command_pdus(1, find, 16384))
    kind, body = answer(sock)
    assert kind == pdus.PduType.P_DATA
    assert struct.pack("<HHLH", 0, 0x0900, 2, 0x0211) in body
    sock.sendall(pdus.command_pdus(3, echo_request(8), 16384))
    assert answer(sock)[0] == pdus.PduType.P_DATA
    sock.sendall(pdus.release_request())
    assert answer(sock)[0] == pdus.PduType.RELEASE_RP
    sock.close()


def test_pdus_that_arrive_byte_by_byte_are_understood(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in pdus.command_pdus(3, echo_request(8), 16384):
        sock.send(bytes([byte]))
    assert answer(sock)[0] == pdus.PduType.P_DATA
    sock.close()


def test_tiny_fragments_and_many_values_in_one_pdu_are_understood(hasty, ct):
    sock = associated(hasty, ct.sop_class, ct.syntax)
    command = store_request(1, ct.sop_class, ct.sop_instance)
    values = struct.pack(">LBB", len(command) + 2, 1, 3) + command
    for at in range(0, len(ct.data), 700):
        part = ct.data[at : at + 700]
        last = 2 if at + 700 >= len(ct.data) else 0
        values += struct.pack(">LBB", len(part) + 2, 1, last) + part
    sock.sendall(struct.pack(">BxL", 4, len(values)) + values)
    assert answer(sock)[0] == pdus.PduType.P_DATA
    sock.close()
    assert hasty.events(InstanceStored)[0].octets > len(ct.data)


def test_random_bytes_never_take_the_receiver_down(hasty, ct):
    seed = random.Random(7)
    for number in range(60):
        sock = connected(hasty) if number % 2 else associated(hasty, ct.sop_class, ct.syntax)
        kind = bytes([seed.randrange(1, 8), 0])
        body = seed.randbytes(seed.randrange(0, 300))
        sock.sendall(kind + len(body).to_bytes(4, "big") + body if number % 3 else seed.randbytes(100))
        sock.close()
    assert honest_echo(hasty) < 2
    assert hasty.receiver.listener.is_alive
