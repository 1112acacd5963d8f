"""The requestor against DCMTK's storescp, and against peers that misbehave at every step."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import ContextResult, NegotiatedContext, decode_request, encode_accept
from hermes_common.dicom.command import decode_command, response_to, store_request
from hermes_common.dicom.part10 import parse_file_meta
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.dicom.errors import (
    Aborted,
    AssociationRejected,
    ContextRefused,
    PeerSilent,
    ProtocolViolation,
    Unreachable,
)
from hermes_common.runtime.dicom.requestor import FileSource, StorageAssociation, Timeouts, plan_associations

CT = Path(str(get_testdata_file("CT_small.dcm")))
RAW = CT.read_bytes()
PART10 = parse_file_meta(RAW)
META = PART10.meta
CONTEXT = (META.sop_class_uid, META.transfer_syntax)
ONE = timedelta(seconds=1)
HASTY = Timeouts(connect=ONE, associate=ONE, send=ONE, response=ONE, release=ONE / 10)


def negotiate(port: int, *contexts: tuple[str, str]) -> StorageAssociation:
    return StorageAssociation.negotiate("HERMES", "PEER", "127.0.0.1", port, contexts or (CONTEXT,), timeouts=HASTY)


def send(association: StorageAssociation, source=None):
    data = RAW[PART10.offset :] if source is None else source
    return association.c_store(META.sop_class_uid, META.sop_instance_uid, META.transfer_syntax, data)


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    program = "/usr/bin/storescp" if Path("/usr/bin/storescp").exists() else shutil.which("storescp")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("DCMTK's storescp is not installed")
        pytest.skip("DCMTK's storescp is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([program, "+B", "-od", str(tmp_path), str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port, tmp_path
    finally:
        process.terminate()
        process.wait(5)


def test_bytes_files_and_chunks_arrive_at_dcmtk_bit_identical(storescp):
    port, folder = storescp
    data = RAW[PART10.offset :]
    for source in (data, FileSource(CT, PART10.offset), (data[n : n + 1000] for n in range(0, len(data), 1000))):
        with negotiate(port, CONTEXT, (VERIFICATION, IMPLICIT_LITTLE)) as association:
            assert association.c_echo().code == 0
            result = send(association, source)
        assert result.status == 0
        assert result.meaning.is_stored
        (stored,) = folder.iterdir()
        received = stored.read_bytes()
        assert received.endswith(data)
        stored.unlink()


def test_a_refused_context_is_that_instances_error_and_the_association_goes_on(storescp):
    port, _ = storescp
    with negotiate(port, CONTEXT, ("1.2.3.4", EXPLICIT_LITTLE)) as association:
        assert not association.accepts("1.2.3.4", EXPLICIT_LITTLE)
        with pytest.raises(ContextRefused, match="enable it at the peer"):
            association.c_store("1.2.3.4", "1.2", EXPLICIT_LITTLE, b"")
        with pytest.raises(ContextRefused, match="not proposed"):
            association.c_store("1.2.3.5", "1.2", EXPLICIT_LITTLE, b"")
        assert association.is_usable
        assert send(association).status == 0


Script = Callable[[socket.socket], None]


@pytest.fixture
def peer() -> Iterator[Callable[[Script], int]]:
    """Starts an acceptor that follows a script for one connection."""
    stack: list[tuple[socket.socket, threading.Thread]] = []

    def start(script: Script) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(8)
                with contextlib.suppress(OSError):
                    script(sock)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        stack.append((listener, thread))
        return listener.getsockname()[1]

    yield start
    for listener, thread in stack:
        thread.join(10)
        listener.close()


def exactly(sock: socket.socket, octets: int) -> bytes:
    """A socket with a time limit gives what is there, with ``MSG_WAITALL`` too."""
    data = b""
    while len(data) < octets and (part := sock.recv(octets - len(data))):
        data += part
    return data


def read(sock: socket.socket) -> tuple[int, bytes]:
    head = exactly(sock, 6)
    if len(head) < 6:
        return 0, b""
    kind, length = pdus.parse_header(head)
    return kind, head + exactly(sock, length)


def accept(sock: socket.socket, max_length: int = 16384, result=ContextResult.ACCEPTED) -> None:
    request = decode_request(read(sock)[1])
    answers = [NegotiatedContext(c.id, c.abstract_syntax, c.transfer_syntaxes[0], result) for c in request.contexts]
    sock.sendall(encode_accept(request, answers, max_length))


def receive_instance(sock: socket.socket) -> list[int]:
    lengths = []
    while True:
        kind, raw = read(sock)
        if kind != pdus.PduType.P_DATA:
            return lengths
        lengths.append(len(raw) - 6)
        for pdv in pdus.iter_pdvs(memoryview(raw)[6:]):
            if pdv.is_last and not pdv.is_command:
                return lengths


def answering(sock: socket.socket, status: int, message: int = 1, comment: str = "") -> None:
    request = decode_command(store_request(message, META.sop_class_uid, META.sop_instance_uid))
    sock.sendall(pdus.command_pdus(1, response_to(request, status, comment=comment), 16384))


def wait_for_close(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


@pytest.mark.parametrize("limit", [0, 1, 300, 4096, 131072])
def test_the_peers_maximum_length_is_respected(peer, limit):
    seen: list[int] = []

    def script(sock):
        accept(sock, limit)
        seen.extend(receive_instance(sock))
        answering(sock, 0xB000, comment="coerced")
        wait_for_close(sock)

    with negotiate(peer(script)) as association:
        result = send(association)
    assert (result.status, result.comment) == (0xB000, "coerced")
    assert result.meaning.is_stored
    assert max(seen) <= max(limit or pdus.SEND_CAP, pdus.MIN_MAX_LENGTH)


def test_a_rejection_says_what_to_do(peer):
    port = peer(lambda sock: (read(sock), sock.sendall(pdus.associate_reject(1, 1, 3)), wait_for_close(sock)))
    with pytest.raises(
        AssociationRejected, match=r"calling AE title not recognised; register our AE title 'HERMES'"
    ) as caught:
        negotiate(port)
    assert not caught.value.is_transient


def test_an_abort_in_mid_object_is_an_abort_and_not_a_broken_pipe(peer):
    def script(sock):
        accept(sock)
        read(sock)
        sock.sendall(pdus.abort(pdus.AbortSource.SERVICE_PROVIDER, 2))
        wait_for_close(sock)

    with pytest.raises(Aborted) as caught, negotiate(peer(script)) as association:
        send(association, [RAW[PART10.offset :]] * 100)
    assert caught.value.by_peer
    assert not association.is_usable


def test_a_connection_that_breaks_is_an_abort_with_unknown_outcome(peer):
    def script(sock):
        accept(sock)
        receive_instance(sock)

    with pytest.raises(Aborted, match="connection was lost") as caught, negotiate(peer(script)) as association:
        send(association)
    assert not caught.value.by_peer


def test_a_peer_that_does_not_answer_the_association_is_given_up(peer):
    port = peer(lambda sock: (read(sock), wait_for_close(sock)))
    began = time.monotonic()
    with pytest.raises(PeerSilent, match="requesting an association"):
        negotiate(port)
    assert time.monotonic() - began < 4


def test_a_peer_that_does_not_answer_the_instance_is_given_up(peer):
    def script(sock):
        accept(sock)
        receive_instance(sock)
        wait_for_close(sock)

    with pytest.raises(PeerSilent, match="waiting for the answer"), negotiate(peer(script)) as association:
        send(association)


def test_a_peer_that_stops_reading_cannot_hold_the_sender(peer):
    hold = threading.Event()

    def script(sock):
        accept(sock)
        hold.wait(8)

    endless = (bytes(1_000_000) for _ in range(200))
    began = time.monotonic()
    with pytest.raises(PeerSilent, match="sending"), negotiate(peer(script)) as association:
        send(association, endless)
    hold.set()
    assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x04\x00\xff\xff\xff\xff",
        b"\x02\x00\x00\x00\x00\x08abcdefgh",
    ],
)
def test_what_is_no_dicom_is_a_violation(peer, reply):
    port = peer(lambda sock: (read(sock), sock.sendall(reply), wait_for_close(sock)))
    with pytest.raises(ProtocolViolation, match="is this port a DICOM service"):
        negotiate(port)


def test_the_answer_to_another_message_is_never_taken_for_ours(peer):
    def script(sock):
        accept(sock)
        receive_instance(sock)
        answering(sock, 0, message=77)
        wait_for_close(sock)

    with pytest.raises(ProtocolViolation, match="another message"), negotiate(peer(script)) as association:
        send(association)


def test_every_status_reaches_the_caller(peer):
    codes = [0x0000, 0xA700, 0xA900, 0xC123, 0x0122, 0xFFFF]

    def script(sock):
        accept(sock)
        for number, code in enumerate(codes):
            receive_instance(sock)
            answering(sock, code, message=number + 1)
        wait_for_close(sock)

    with negotiate(peer(script)) as association:
        assert [send(association).status for _ in codes] == codes


def test_a_closed_port_and_an_unknown_name_are_unreachable():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unreachable, match="connection refused"):
        negotiate(port)
    with pytest.raises(Unreachable, match="name"):
        StorageAssociation.negotiate("A", "B", "no-such-host.invalid", 104, [CONTEXT], timeouts=HASTY)


def test_contexts_are_planned_once_each_and_128_to_an_association():
    wanted = [(f"1.2.{n % 200}", EXPLICIT_LITTLE) for n in range(1000)]
    plan = plan_associations(wanted)
    assert [len(part) for part in plan] == [128, 72]
    assert [context for part in plan for context in part] == list(dict.fromkeys(wanted))
    assert plan_associations([]) == []
