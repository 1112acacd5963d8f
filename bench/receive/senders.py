"""Who sends: DCMTK's storescu and dcmsend as they come, and a minimal sender that leaves the work to the receiver."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

from objects import Instance, load

from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import ProposedContext, decode_accept, encode_request
from hermes_common.dicom.command import store_request

STEP = 120.0
"""Seconds that a receiver may take for one answer before a run counts as failed."""

DCMTK = {"storescu": "/usr/bin/storescu", "dcmsend": "/usr/bin/dcmsend"}


def shares(files: Sequence[Path], associations: int) -> list[list[Path]]:
    """Return the files dealt out to so many associations."""
    return [list(files[number::associations]) for number in range(associations)]


def send_dcmtk(program: str, port: int, files: Sequence[Path], associations: int, *, nagle: bool) -> float:
    """Send with so many processes of a DCMTK program at once; return the seconds until the last ended."""
    environment = {**os.environ} if nagle else {**os.environ, "TCP_NODELAY": "1"}
    options = ["-aet", "BENCH", "-aec", "HERMES"]
    if program == "dcmsend":
        options += ["--no-halt"]
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [DCMTK[program], *options, "127.0.0.1", str(port), *map(str, share)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for share in shares(files, associations)
    ]
    for process in running:
        _, words = process.communicate(timeout=600)
        if process.returncode != 0:
            raise RuntimeError(f"{program} failed: {words.decode()[-300:]}")
    return time.perf_counter() - began


def send_fast(port: int, files: Sequence[Path], associations: int) -> float:
    """Send pre-encoded PDUs over so many associations, a process each; return the seconds from the first byte of the
    first object to the last answer.
    """
    if not files:
        raise ValueError("nothing to send")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(associations + 1)
    pipes = []
    for share in shares(files, associations):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_fast, args=(port, share, barrier, theirs), daemon=True)
        process.start()
        pipes.append((process, ours))
    barrier.wait(STEP)
    spans = []
    for process, pipe in pipes:
        if not pipe.poll(600):
            raise RuntimeError("the fast sender does not end")
        span = pipe.recv()
        process.join(10)
        if isinstance(span, str):
            raise RuntimeError(span)
        spans.append(span)
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _fast(port: int, files: list[Path], barrier: Barrier, pipe) -> None:
    try:
        instances = [load(path) for path in files]
        sock, limit = associate(port, instances[0])
        encoded = [encode(instance, number & 0xFFFF, limit) for number, instance in enumerate(instances)]
        barrier.wait(STEP)
        began = time.perf_counter()
        for parts in encoded:
            transmit(sock, parts)
            status = read_status(sock)
            if status != 0:
                raise RuntimeError(f"the receiver answered {status:04X}H")
        ended = time.perf_counter()
        release(sock)
        pipe.send((began, ended))
    except (OSError, RuntimeError, ValueError, threading.BrokenBarrierError) as exc:
        barrier.abort()
        pipe.send(f"{type(exc).__name__}: {exc}")


def associate(port: int, instance: Instance, title: str = "BENCH") -> tuple[socket.socket, int]:
    """Open an association for the class of an instance; return its socket and the PDU length of the peer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=STEP)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    proposed = [ProposedContext(1, instance.sop_class, (instance.syntax,))]
    sock.sendall(encode_request(title, "HERMES", proposed))
    kind, body = read_pdu(sock)
    if kind != pdus.PduType.ASSOCIATE_AC:
        raise RuntimeError(f"no association: PDU type {kind}")
    head = bytes((kind, 0)) + len(body).to_bytes(4, "big")
    return sock, decode_accept(head + body, proposed).max_length


def encode(instance: Instance, message: int, limit: int) -> list[bytes | memoryview]:
    """Return the PDUs of one C-STORE-RQ as buffers: small ones joined, so that one system call sends them."""
    size = pdus.fragment_size(limit)
    request = store_request(message, instance.sop_class, instance.sop_instance)
    parts: list[bytes | memoryview] = [pdus.command_pdus(1, request, limit)]
    for start in range(0, len(instance.data), size):
        part = instance.data[start : start + size]
        last = start + size >= len(instance.data)
        parts += [pdus.p_data_head(1, len(part), is_command=False, is_last=last), part]
    return [b"".join(parts)] if len(instance.data) < 1_000_000 else parts


def transmit(sock: socket.socket, parts: list[bytes | memoryview]) -> None:
    """Send all of it."""
    for part in parts:
        sock.sendall(part)


def read_pdu(sock: socket.socket) -> tuple[int, bytes]:
    """Read one PDU."""
    head = _exactly(sock, 6)
    kind, length = pdus.parse_header(head)
    return kind, _exactly(sock, length)


def read_status(sock: socket.socket) -> int:
    """Read a response and return its status (0000,0900)."""
    kind, body = read_pdu(sock)
    if kind != pdus.PduType.P_DATA:
        raise RuntimeError(f"PDU type {kind} instead of an answer")
    at = body.rindex(b"\x00\x00\x00\x09\x02\x00\x00\x00") + 8
    return int.from_bytes(body[at : at + 2], "little")


def release(sock: socket.socket) -> None:
    """Release the association and close."""
    sock.sendall(pdus.release_request())
    read_pdu(sock)
    sock.close()


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = sock.recv(count - len(found))
        if not more:
            raise RuntimeError("the receiver closed the connection")
        found += more
    return found
