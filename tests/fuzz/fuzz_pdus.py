"""Fuzzes what the receiver does with PDUs; prints the seed, and the two counts apart.

    .venv/bin/python tests/fuzz/fuzz_pdus.py [--seed N] [--parser 900000] [--socket 100000]

*Parser*: damaged PDUs go through the functions that read them, in this process; anything but their declared errors is
a crash. *Socket*: they go over TCP to a receiver (acceptor, spool and all) in a process of its own, which has to be
alive and to answer C-ECHO throughout, and to end with the descriptors and threads with which it began. It reads a
connection up to the first PDU that it refuses; what was sent behind that one is counted as sent all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import socket
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pdus as hostile

from hermes_common.dicom.associate import decode_request
from hermes_common.dicom.command import decode_command
from hermes_common.dicom.errors import DicomError
from hermes_common.dicom.header import extract_header
from hermes_common.dicom.pdu import HEADER_LENGTH, iter_pdvs, parse_header
from hermes_common.dicom.tags import DEFAULT_TAGS, TagSelection
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from hermes_common.runtime.dicom.requestor import StorageAssociation
from hermes_common.sources import Admission
from hermes_receiver.adapters.listener import Listener
from hermes_receiver.adapters.share import bound
from hermes_receiver.adapters.spool import Spool
from hermes_receiver.core.limits import Limits
from hermes_receiver.handlers.association import AssociationHandler
from hermes_receiver.handlers.storing import Store

ECHO_LIMIT = 2.0
ECHO_EVERY = 2_000


@dataclass
class Found:
    """How many PDUs were tried, how many of them were read without complaint."""

    tried: int = 0
    understood: int = 0


def fuzz_parser(seed: int, count: int) -> Found:
    """Run damaged PDUs through the parsers; an undeclared exception passes through and names the seed's PDU."""
    source = random.Random(seed)
    found = Found()
    while found.tried < count:
        choice = source.random()
        if choice < 0.1:
            raw = hostile.mutated(source, hostile.request(source))
            found.understood += _reads(lambda raw=raw: decode_request(raw))
        elif choice < 0.5:
            raw = hostile.mutated(source, hostile.message(source))
            found.understood += _reads(lambda raw=raw: _walk(raw))
        elif choice < 0.8:
            raw = hostile.mutated(source, hostile.command(source))
            found.understood += _reads(lambda raw=raw: decode_command(raw))
        else:
            raw = hostile.mutated(source, hostile.data_set())
            found.understood += _reads(lambda raw=raw: extract_header(raw, EXPLICIT_LITTLE))
        found.tried += 1
    return found


def _walk(raw: bytes) -> None:
    """Read a stream of PDUs as the wire does."""
    at = 0
    while at + HEADER_LENGTH <= len(raw):
        _, length = parse_header(raw[at : at + HEADER_LENGTH])
        for pdv in iter_pdvs(memoryview(raw)[at + HEADER_LENGTH : at + HEADER_LENGTH + length]):
            if pdv.is_command:
                decode_command(bytes(pdv.fragment))
        at += HEADER_LENGTH + length


def _reads(read) -> bool:
    try:
        read()
    except DicomError:
        return False
    return True


class _Silent:
    """Uploads and announcements that go nowhere: the wire is what is tried here."""

    def offer(self, entry: str, **_: object) -> None:
        """Leave the entry in the spool."""

    def say(self, event: object) -> None:
        """Say nothing."""


def _serve(folder: str, pipe: Connection) -> None:
    logging.disable()
    warnings.simplefilter("ignore")
    limits = Limits(associations=500, associations_per_address=500, waiting_connections=500, free_bytes=0)
    spool = Spool(Path(folder))
    spool.open()
    silent = _Silent()
    selection = TagSelection.of(DEFAULT_TAGS)
    store = Store(spool, silent, silent, limits, lambda: selection)

    def serve(wire, origin, admit) -> None:
        AssociationHandler(wire, origin, store, silent, lambda _: Admission(), admit).run()

    listener = Listener(bound("127.0.0.1", 0), limits, serve)
    listener.start()
    pipe.send(listener.port)
    pipe.recv()
    pipe.send(listener.is_alive)


def fuzz_socket(seed: int, count: int) -> Found:
    """Send damaged PDUs to a receiver; raises AssertionError if it does not stay well."""
    source = random.Random(seed)
    found = Found()
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
        process.start()
        try:
            assert ours.poll(30), "the receiver does not start"
            port = ours.recv()
            found = _attack(source, port, count, psutil.Process(process.pid))
            ours.send("end")
            assert ours.poll(30), "the receiver does not end"
            assert ours.recv(), "the listener is not alive"
        finally:
            process.terminate()
            process.join(10)
    return found


def _attack(source: random.Random, port: int, count: int, receiver: psutil.Process) -> Found:
    found = Found()
    _echo(port)
    files, threads = receiver.num_fds(), receiver.num_threads()
    due = ECHO_EVERY
    while found.tried < count:
        found.tried += _connection(source, port)
        if found.tried >= due:
            assert _echo(port) < ECHO_LIMIT, f"C-ECHO took too long after {found.tried} PDUs"
            due += ECHO_EVERY
    end = time.monotonic() + 30
    while (receiver.num_fds(), receiver.num_threads()) > (files, threads) and time.monotonic() < end:
        time.sleep(0.1)
    assert receiver.num_fds() <= files, "descriptors are left"
    assert receiver.num_threads() <= threads, "threads are left"
    return found


def _connection(source: random.Random, port: int) -> int:
    """One connection: a request, whole most times, then damaged PDUs until the receiver has had enough."""
    sent = 0
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        opening = hostile.request(source)
        sock.sendall(opening if source.random() < 0.8 else hostile.mutated(source, opening))
        sent += 1
        for _ in range(source.randrange(1, 40)):
            make = hostile.message if source.random() < 0.85 else hostile.control
            sent += 1
            sock.sendall(hostile.mutated(source, make(source)))
        sock.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            while sock.recv(65536):
                pass
    return sent


def _echo(port: int) -> float:
    began = time.monotonic()
    with StorageAssociation.negotiate("HONEST", "HERMES", "127.0.0.1", port, [(VERIFICATION, IMPLICIT_LITTLE)]) as one:
        assert one.c_echo().code == 0
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--parser", type=int, default=900_000)
    parser.add_argument("--socket", type=int, default=100_000)
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    warnings.simplefilter("ignore")  # pydicom's, about UIDs
    for name, fuzz, count in (("parser", fuzz_parser, chosen.parser), ("socket", fuzz_socket, chosen.socket)):
        began = time.monotonic()
        found = fuzz(chosen.seed, count)
        read = f", {found.understood} read as valid" if name == "parser" else ""
        print(f"{name}: {found.tried} PDUs{read}, 0 crashes, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
