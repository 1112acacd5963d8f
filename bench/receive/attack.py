"""Honest traffic at a fixed pace, and honest traffic while others do their worst."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from objects import load
from receivers import Running
from senders import associate, encode, read_status, release, send_fast, transmit

from hermes_common.dicom.uids import IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.dicom.requestor import StorageAssociation


def paced(port: int, files: list[Path], per_second: int, seconds: int) -> list[float]:
    """Send at a fixed pace over one association; return how long each answer took, from the first byte, in seconds."""
    instances = [load(path) for path in files]
    sock, limit = associate(port, instances[0])
    encoded = [encode(instance, 1, limit) for instance in instances]
    times = []
    began = time.perf_counter()
    for number in range(per_second * seconds):
        due = began + number / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        transmit(sock, encoded[number % len(encoded)])
        if read_status(sock) != 0:
            raise RuntimeError("not stored")
        times.append(time.perf_counter() - start)
    release(sock)
    return times


def under_attack(running: Running, files: list[Path], rounds: int) -> list[dict[str, object]]:
    """Return the honest rate and the slowest C-ECHO, alone and under each attack, rounds taking turns."""
    rates: dict[str, list[float]] = {name: [] for name in ("alone", *ATTACKS)}
    echoes: dict[str, list[float]] = {name: [] for name in rates}
    before = running.memory()
    for _ in range(rounds):
        for name, found in rates.items():
            with _attack(name, running.port) if name != "alone" else contextlib.nullcontext():
                time.sleep(0.5)
                echoes[name] += [_echo(running.port) for _ in range(5)]
                found.append(len(files) / send_fast(running.port, files, 2))
            running.settle()
    alone = sorted(rates["alone"])[rounds // 2]
    grown = (running.memory() - before) / 1e6
    return [
        {
            "while": name,
            "honest instances/s": sorted(values)[rounds // 2],
            "of alone": sorted(values)[rounds // 2] / alone,
            "slowest C-ECHO s": max(echoes[name]),
            "memory grown MB, all": grown,
            "n": rounds,
        }
        for name, values in rates.items()
    ]


def _echo(port: int) -> float:
    began = time.perf_counter()
    with StorageAssociation.negotiate("HONEST", "HERMES", "127.0.0.1", port, [(VERIFICATION, IMPLICIT_LITTLE)]) as one:
        if one.c_echo().code != 0:
            raise RuntimeError("C-ECHO was not answered with Success")
    return time.perf_counter() - began


def _silent(port: int, stop: threading.Event) -> None:
    """A hundred connections that say nothing, or half a request."""
    held = []
    while not stop.wait(0.02):
        if len(held) >= 100:
            held.pop(0).close()
        with contextlib.suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", port), timeout=1)
            sock.sendall(random.choice((b"", b"\x01\x00\x00\x00\x00\xce\x00\x01")))
            held.append(sock)
    for sock in held:
        sock.close()


def _garbage(port: int, stop: threading.Event) -> None:
    """Garbage, four gigabytes announced, connect and reset: two hundred times a second."""
    while not stop.wait(0.005):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.sendall(
                random.choice((b"", b"\x04\x00\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", random.randbytes(60)))
            )


def _drip(port: int, stop: threading.Event) -> None:
    """Thirty associations' worth of requests that arrive a byte at a time."""
    held: list[socket.socket] = []
    while not stop.wait(0.01):
        with contextlib.suppress(OSError):
            if len(held) < 30:
                held.append(socket.create_connection(("127.0.0.1", port), timeout=1))
            random.choice(held).send(b"\x01")
    for sock in held:
        sock.close()


ATTACKS = {"100 silent connections": _silent, "garbage 200/s": _garbage, "bytes one by one": _drip}


@contextlib.contextmanager
def _attack(name: str, port: int) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=ATTACKS[name], args=(port, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
