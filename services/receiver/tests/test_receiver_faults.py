"""A catalogue of wire faults. After each an honest C-ECHO is answered in time, and everything held is given back."""

from __future__ import annotations

import dataclasses
import random
import socket
import ssl
import struct
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import ProposedContext, encode_request
from hermes_common.dicom.command import echo_request, store_request
from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.events import AssociationAborted, InstanceStored
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_receiver import settings as settings_module
from hermes_receiver.core.limits import Limits

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def hasty(make_receiver, monkeypatch):
    """A receiver with limits of a second instead of half a minute, that has already served one association."""

    def limits(self) -> Limits:
        second = timedelta(seconds=1)
        return dataclasses.replace(
            Limits(), request=second, transfer=second, idle=second, free_bytes=0, farewell=second / 10
        )

    monkeypatch.setattr(settings_module.Settings, "limits", limits)
    running = make_receiver()
    assert echo(running) < 2
    return running


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    return sum(thread.name.startswith("dicom-127") for thread in threading.enumerate())


@pytest.fixture
def well(hasty):
    """Checks, after the fault, that the receiver is as it was before."""
    before = descriptors()
    yield hasty
    assert echo(hasty) < 2
    hasty.eventually(lambda: threads() == 0, 12)
    hasty.eventually(lambda: descriptors() <= before, 12)
    assert not hasty.files("incoming")
    assert hasty.receiver.listener.is_alive


def insist(sock: socket.socket, burst: bytes) -> None:
    """Send more than is read and dropped after an abort."""
    for _ in range(20_000):
        sock.sendall(burst)


def echo(running) -> float:
    began = time.monotonic()
    with StorageAssociation.negotiate(
        "HONEST", "HERMES", "127.0.0.1", running.port, [(VERIFICATION, IMPLICIT_LITTLE)]
    ) as one:
        assert one.c_echo().code == 0
    return time.monotonic() - began


def connected(running) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", running.port), timeout=5)
    sock.settimeout(10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read(sock) -> tuple[int, bytes]:
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


def request(sample, max_length=131_072) -> bytes:
    contexts = [
        ProposedContext(1, sample.sop_class, (sample.syntax,)),
        ProposedContext(3, VERIFICATION, (IMPLICIT_LITTLE,)),
        ProposedContext(5, sample.sop_class, (sample.syntax,)),
    ]
    return encode_request("HOSTILE", "HERMES", contexts, max_length=max_length)


def associated(running, sample, max_length=131_072) -> socket.socket:
    sock = connected(running)
    sock.sendall(request(sample, max_length))
    assert read(sock)[0] == pdus.PduType.ASSOCIATE_AC
    return sock


def value(context: int, control: int, part: bytes) -> bytes:
    return struct.pack(">LBB", len(part) + 2, context, control) + part


def p_data(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxL", 4, len(body)) + body


def conversation(sample) -> bytes:
    """Return all that a sender says about one instance, from its request on."""
    command = store_request(1, sample.sop_class, sample.sop_instance)
    return request(sample) + p_data(value(1, 3, command)) + p_data(value(1, 2, sample.data)) + pdus.release_request()


def drip(sock, raw: bytes) -> None:
    for byte in raw:
        sock.sendall(bytes([byte]))
        time.sleep(0.05)


def status(body: bytes) -> int:
    at = body.rindex(b"\x00\x00\x00\x09\x02\x00\x00\x00") + 8
    return int.from_bytes(body[at : at + 2], "little")


def classes_of_offsets(sample) -> list[int]:
    """Return an offset in each part of the conversation: header, fields, values, boundaries, and one beside each."""
    opening = len(request(sample))
    command = len(p_data(value(1, 3, store_request(1, sample.sop_class, sample.sop_instance))))
    ends = (opening, opening + command, opening + command + len(p_data(value(1, 2, sample.data))))
    starts = (0, *ends)
    inside = [start + step for start in starts for step in (0, 1, 2, 5, 6, 7, 9, 10, 11, 12, 13)]
    around = [end + step for end in ends for step in (-1, 1)]
    whole = len(conversation(sample))
    return sorted({at for at in (*inside, *around, opening // 2, ends[2] // 2, whole - 1) if 0 < at < whole})


@pytest.mark.parametrize("end", ["close", "reset", "abort"])
def test_a_connection_that_ends_at_any_kind_of_offset_leaves_nothing(well, ct, end):
    raw = conversation(ct)
    offsets = classes_of_offsets(ct)
    whole_by = raw.index(ct.data) + len(ct.data)
    for at in offsets:
        with connected(well) as sock:
            sock.sendall(raw[:at])
            if end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            elif end == "abort":
                sock.sendall(pdus.abort(pdus.AbortSource.SERVICE_USER))
    most = sum(at >= whole_by for at in offsets)
    well.eventually(lambda: threads() == 0, 12)
    assert len(well.bus.of(InstanceStored)) <= most


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 64, 127, 1000, 16_378, 65_536])
def test_fragments_of_every_size_are_put_together(well, ct, size):
    data = ct.data if size > 8 else ct.data[:0] + ct.data
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    values = [value(1, 2 if number == len(parts) - 1 else 0, part) for number, part in enumerate(parts)]
    per_pdu = max(1, 100_000 // (size + 6))
    raw = p_data(value(1, 3, store_request(1, ct.sop_class, ct.sop_instance)))
    raw += b"".join(p_data(*values[start : start + per_pdu]) for start in range(0, len(values), per_pdu))
    with associated(well, ct) as sock:
        sock.sendall(raw)
        kind, body = read(sock)
    assert kind == pdus.PduType.P_DATA
    assert status(body) == 0


def test_empty_fragments_and_empty_pdus_are_nothing(well, ct):
    command = store_request(1, ct.sop_class, ct.sop_instance)
    raw = p_data() + p_data(value(1, 1, b""), value(1, 1, command), value(1, 3, b""))
    raw += p_data() * 3 + p_data(value(1, 0, b"")) * 3 + p_data(value(1, 0, ct.data), value(1, 2, b""))
    with associated(well, ct) as sock:
        sock.sendall(raw)
        _, body = read(sock)
    assert status(body) == 0


def test_command_and_data_in_one_pdu_and_the_next_message_behind_it(well, ct):
    command = store_request(1, ct.sop_class, ct.sop_instance)
    once = p_data(value(1, 3, command), value(1, 2, ct.data))
    with associated(well, ct) as sock:
        sock.sendall(once + p_data(value(3, 3, echo_request(2))) + once)
        assert [status(read(sock)[1]) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "raw",
    [
        lambda ct, command: p_data(value(1, 3, command)) + p_data(value(5, 0, b"1234")),
        lambda ct, command: p_data(value(1, 1, command[:20])) + p_data(value(5, 3, command[20:])),
        lambda ct, command: p_data(value(1, 3, command), value(3, 3, echo_request(9))),
        lambda ct, command: p_data(value(1, 3, command)) + request(ct),
        lambda ct, command: p_data(value(7, 3, command)),
        lambda ct, command: p_data(value(0, 3, command)),
        lambda ct, command: struct.pack(">BxL", 4, 0xFFFFFFFF),
        lambda ct, command: p_data(struct.pack(">LBB", 0xFFFFFFFF, 1, 3)),
        lambda ct, command: p_data(struct.pack(">L", 1) + b"\x01"),
        lambda ct, command: struct.pack(">BxL", 8, 4) + bytes(4),
        lambda ct, command: struct.pack(">BxL", 0, 0),
        lambda ct, command: struct.pack(">BxL", 5, 5) + bytes(5),
        lambda ct, command: struct.pack(">BxL", 2, 4) + bytes(4),
    ],
)
def test_interleaved_contexts_wrong_order_and_impossible_lengths_end_in_an_abort(well, ct, raw):
    with associated(well, ct) as sock:
        sock.sendall(raw(ct, store_request(1, ct.sop_class, ct.sop_instance)))
        assert read(sock)[0] == pdus.PduType.ABORT
        assert read(sock)[0] == 0
    assert well.events(AssociationAborted)[0].reason


@pytest.mark.parametrize("max_length", [0, 1, 128, 4096, 131_072, 0xFFFFFFFF])
def test_answers_keep_to_the_pdu_length_of_the_sender(well, ct, max_length):
    with associated(well, ct, max_length) as sock:
        sock.sendall(p_data(value(3, 3, echo_request(2))))
        found = b""
        while not found or not found[-1:] or b"\x00\x00\x00\x09" not in found:
            kind, body = read(sock)
            assert kind == pdus.PduType.P_DATA
            assert max_length < 128 or len(body) <= max_length
            found += body[6:]


def test_half_a_pdu_and_silence_end_within_the_limits(well, ct):
    raw = conversation(ct)
    held = []
    for at in (3, 100, len(request(ct)) + 3, len(request(ct)) + 40, len(raw) // 2):
        sock = connected(well)
        sock.sendall(raw[:at])
        held.append(sock)
    began = time.monotonic()
    for sock in held:
        while read(sock)[0] not in (0, pdus.PduType.ABORT):
            pass
    assert time.monotonic() - began < 8
    for sock in held:
        sock.close()


def test_bytes_that_drip_in_do_not_hold_an_association_beyond_the_limit(well, ct):
    raw = p_data(value(1, 3, store_request(1, ct.sop_class, ct.sop_instance)))
    with associated(well, ct) as sock:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"."):
            drip(sock, raw * 100)
        assert time.monotonic() - began < 8


def test_a_peer_that_does_not_read_its_answers_is_let_go(well, ct):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before connecting, so that the window stays small
        sock.settimeout(60)  # longer than the receiver's limit: it is the receiver that has to end this
        sock.connect(("127.0.0.1", well.port))
        sock.sendall(request(ct))
        assert read(sock)[0] == pdus.PduType.ASSOCIATE_AC
        burst = p_data(value(3, 3, echo_request(2))) * 100
        with pytest.raises(OSError, match=r"."):
            insist(sock, burst)
    assert "answering" in well.events(AssociationAborted)[0].reason


def test_a_thousand_connects_of_every_kind(well, ct):
    source = random.Random(11)
    for number in range(1000):
        with connected(well) as sock:
            if number % 4 == 1:
                sock.sendall(source.randbytes(source.randrange(1, 80)))
            elif number % 4 == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            elif number % 4 == 3:
                sock.sendall(request(ct)[: source.randrange(400)])
        if number % 250 == 125:
            assert echo(well) < 2


def test_tls_records_on_the_plain_port_are_garbage_like_any_other(well):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connected(well) as sock, pytest.raises(OSError, match=r"."):
        context.wrap_socket(sock)
