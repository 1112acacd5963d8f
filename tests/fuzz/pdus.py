"""Hostile PDUs: valid ones made first, then damaged in ways that know their structure. Everything comes from a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from hermes_common.dicom import pdu as pdus
from hermes_common.dicom.associate import ProposedContext, encode_request
from hermes_common.dicom.command import echo_request, encode_command, store_request
from hermes_common.dicom.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION

CT = "1.2.840.10008.5.1.4.1.1.2"
LENGTHS = (0, 1, 2, 3, 5, 6, 0x7F, 0xFF, 0xFFFF, 0x1FFFF, 0x20000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def request(source: random.Random) -> bytes:
    """Return a valid association request."""
    contexts = [
        ProposedContext(number, source.choice((CT, VERIFICATION, "1.2.3")), (EXPLICIT_LITTLE, IMPLICIT_LITTLE))
        for number in range(1, 2 + 2 * source.randrange(1, 5), 2)
    ]
    return encode_request("FUZZ", "HERMES", contexts)


def element(group: int, number: int, value: bytes) -> bytes:
    """Return an explicit little endian element of VR UI."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, b"UI", len(value)) + value


def data_set(instance: bytes = b"1.2.3.4") -> bytes:
    """Return a small data set with its identifying UIDs."""
    return (
        element(0x0008, 0x0016, CT.encode())
        + element(0x0008, 0x0018, instance)
        + element(0x0020, 0x000D, b"1.2.3")
        + element(0x0020, 0x000E, b"1.2.3.5")
    )


def command(source: random.Random) -> bytes:
    """Return a command set: C-STORE, C-ECHO, or one that nobody serves."""
    return source.choice(
        (
            store_request(source.randrange(65536), CT, "1.2.3.4"),
            echo_request(source.randrange(65536)),
            encode_command({0x0100: source.randrange(65536), 0x0110: 1, 0x0800: source.choice((0x0101, 1))}),
        )
    )


def message(source: random.Random) -> bytes:
    """Return P-DATA that belongs together, in fragments of any size, sometimes with several values in a PDU."""
    parts = [(1, command(source)), (0, data_set())]
    values = []
    for is_command, raw in parts:
        size = source.choice((1, 2, 7, 64, 1000, 70000))
        for start in range(0, len(raw), size):
            part = raw[start : start + size]
            control = is_command | (2 if start + size >= len(raw) else 0)
            values.append(struct.pack(">LBB", len(part) + 2, source.choice((1, 1, 1, 3, 255)), control) + part)
    if source.random() < 0.3:
        return _p_data(b"".join(values))
    return b"".join(_p_data(value) for value in values)


def _p_data(body: bytes) -> bytes:
    return struct.pack(">BxL", pdus.PduType.P_DATA, len(body)) + body


def control(source: random.Random) -> bytes:
    """Return a PDU that is no data."""
    return source.choice(
        (
            pdus.release_request(),
            pdus.release_response(),
            pdus.abort(pdus.AbortSource.SERVICE_USER),
            struct.pack(">BxL", source.randrange(256), 4) + source.randbytes(4),
        )
    )


def _flip(source: random.Random, raw: bytearray) -> None:
    for _ in range(source.choice((1, 1, 2, 8))):
        raw[source.randrange(len(raw))] ^= 1 << source.randrange(8)


def _length(source: random.Random, raw: bytearray) -> None:
    at = source.choice((2, 6, source.randrange(len(raw))))
    packed = struct.pack(source.choice((">L", "<L", ">H")), source.choice(LENGTHS) & 0xFFFF)
    if source.random() < 0.5:
        packed = struct.pack(">L", source.choice(LENGTHS))
    raw[at : at + len(packed)] = packed


def _cut(source: random.Random, raw: bytearray) -> None:
    del raw[source.randrange(len(raw)) :]


def _repeat(source: random.Random, raw: bytearray) -> None:
    at = source.randrange(len(raw))
    piece = raw[at : at + source.randrange(1, 64)]
    raw[at:at] = piece * source.randrange(1, 4)


def _kind(source: random.Random, raw: bytearray) -> None:
    raw[0] = source.randrange(256)


def _noise(source: random.Random, raw: bytearray) -> None:
    at = source.randrange(len(raw))
    raw[at:at] = source.randbytes(source.randrange(1, 40))


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (_flip, _length, _cut, _repeat, _kind, _noise)


def mutated(source: random.Random, raw: bytes) -> bytes:
    """Return ``raw`` with one to three damages; sometimes it stays whole."""
    damaged = bytearray(raw)
    for _ in range(source.choice((0, 1, 1, 1, 2, 3))):
        if not damaged:
            break
        source.choice(MUTATIONS)(source, damaged)
    return bytes(damaged)
