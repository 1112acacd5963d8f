"""PDUs of the upper layer, byte by byte: headers, P-DATA framing, release, abort, reject (PS3.8 9.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hermes_common.dicom.errors import MalformedPdu

HEADER_LENGTH: Final = 6
PDV_OVERHEAD: Final = 6
"""Bytes of a P-DATA body that are not data, for one PDV: length, context id, control header."""
DEFAULT_MAX_LENGTH: Final = 131_072
"""Bytes of a P-DATA body that Hermes offers to receive."""
SEND_CAP: Final = 262_144
"""Longest P-DATA body that Hermes sends, whatever a peer allows."""
MIN_MAX_LENGTH: Final = 128
"""Maximum lengths below this cannot carry a command set in a reasonable number of PDUs; peers that announce less get
this.
"""

COMMAND: Final = 0x01
LAST: Final = 0x02

_HEADER = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")
_P_DATA_ONE = struct.Struct(">BxLLBB")


class PduType(IntEnum):
    """PDU-type, the first byte of every PDU."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class RejectResult(IntEnum):
    """Result of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    PERMANENT = 1
    TRANSIENT = 2


class RejectSource(IntEnum):
    """Source of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    SERVICE_USER = 1
    ACSE = 2
    PRESENTATION = 3


class AbortSource(IntEnum):
    """Source of an A-ABORT (PS3.8 table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Reason of an A-ABORT by the provider (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNISED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


@dataclass(frozen=True, slots=True)
class Pdv:
    """One presentation data value: its context, whether it is command and last fragment, and the fragment (a view,
    not a copy).
    """

    context_id: int
    is_command: bool
    is_last: bool
    fragment: memoryview


def parse_header(header: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Return PDU type (unchecked) and body length in bytes from the six bytes of a PDU header."""
    kind, length = _HEADER.unpack_from(header)
    return kind, length


def iter_pdvs(body: memoryview) -> Iterator[Pdv]:
    """Yield the PDVs of a P-DATA-TF body (PS3.8 9.3.5, E.2); raises :class:`MalformedPdu`. An empty body has none."""
    offset, end = 0, len(body)
    while offset < end:
        if offset + PDV_OVERHEAD > end:
            raise MalformedPdu("a P-DATA PDU ends inside a PDV header")
        length, context_id, control = _PDV.unpack_from(body, offset)
        behind = offset + 4 + length
        if length < 2 or behind > end:
            raise MalformedPdu(f"a PDV of {length} bytes does not fit its PDU")
        fragment = body[offset + PDV_OVERHEAD : behind]
        yield Pdv(context_id, bool(control & COMMAND), bool(control & LAST), fragment)
        offset = behind


def p_data_head(context_id: int, length: int, *, is_command: bool, is_last: bool) -> bytes:
    """Return the twelve bytes before a fragment of ``length`` bytes sent as the only PDV of its PDU."""
    control = (COMMAND if is_command else 0) | (LAST if is_last else 0)
    return _P_DATA_ONE.pack(PduType.P_DATA, length + PDV_OVERHEAD, length + 2, context_id, control)


def command_pdus(context_id: int, command: bytes, max_length: int) -> bytes:
    """Return the command set framed in as many P-DATA PDUs as ``max_length`` (see :func:`fragment_size`) asks for."""
    size = fragment_size(max_length)
    out = bytearray()
    for start in range(0, len(command), size):
        part = command[start : start + size]
        out += p_data_head(context_id, len(part), is_command=True, is_last=start + size >= len(command)) + part
    return bytes(out)


def fragment_size(max_length: int) -> int:
    """Return the data bytes per PDU for a peer that announced ``max_length``: 0 is unlimited and gets our cap (PS3.8
    D.1).
    """
    allowed = SEND_CAP if max_length == 0 else min(max(max_length, MIN_MAX_LENGTH), SEND_CAP)
    return (allowed - PDV_OVERHEAD) & ~1


def fragments(chunks: Iterable[bytes | memoryview], size: int) -> Iterator[tuple[memoryview, bool]]:
    """Cut or join ``chunks`` into fragments of ``size`` bytes with a flag for the last; an empty source gives one
    empty last fragment.

    A chunk that is long enough is cut without copying.
    """
    rest = bytearray()
    ready: memoryview | None = None
    for chunk in chunks:
        view = memoryview(chunk).cast("B") if not isinstance(chunk, bytes) else memoryview(chunk)
        while len(rest) + len(view) >= size:
            if ready is not None:
                yield ready, False
            if rest:
                take = size - len(rest)
                ready, view, rest = memoryview(bytes(rest) + view[:take]), view[take:], bytearray()
            else:
                ready, view = view[:size], view[size:]
        rest += view
    if ready is not None and rest:
        yield ready, False
        ready = None
    yield (ready if ready is not None else memoryview(bytes(rest))), True


def data_pdus(context_id: int, data: bytes | memoryview, size: int) -> list[bytes | memoryview]:
    """Return a whole data set framed in P-DATA PDUs of ``size`` bytes each, heads and fragments in turn, uncopied."""
    view, length = memoryview(data), len(data)
    head = p_data_head(context_id, size, is_command=False, is_last=False)
    parts: list[bytes | memoryview] = []
    start = 0
    while length - start > size:
        parts += (head, view[start : start + size])
        start += size
    parts += (p_data_head(context_id, length - start, is_command=False, is_last=True), view[start:])
    return parts


def release_request() -> bytes:
    """Return an A-RELEASE-RQ (PS3.8 9.3.6)."""
    return _HEADER.pack(PduType.RELEASE_RQ, 4) + bytes(4)


def release_response() -> bytes:
    """Return an A-RELEASE-RP (PS3.8 9.3.7)."""
    return _HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)


def abort(source: AbortSource, reason: AbortReason = AbortReason.NOT_SPECIFIED) -> bytes:
    """Return an A-ABORT (PS3.8 9.3.8)."""
    return _HEADER.pack(PduType.ABORT, 4) + bytes((0, 0, source, reason))


def associate_reject(result: RejectResult, source: RejectSource, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return _HEADER.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


_REJECTIONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given by the peer's protocol layer",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit of associations exceeded",
}
_ABORTS: Final = {
    0: "no reason given",
    1: "it did not recognise a PDU",
    2: "it did not expect a PDU",
    4: "it did not recognise a parameter of a PDU",
    5: "it did not expect a parameter of a PDU",
    6: "it found an invalid parameter in a PDU",
}


def rejection_words(source: int, reason: int) -> str:
    """Say what source and reason of an A-ASSOCIATE-RJ mean (PS3.8 table 9-21)."""
    return _REJECTIONS.get((source, reason), f"source {source}, reason {reason}")


def abort_words(source: int, reason: int) -> str:
    """Say what source and reason of an A-ABORT mean (PS3.8 table 9-26)."""
    if source == AbortSource.SERVICE_USER:
        return "the peer's application gave up"
    return f"the peer's protocol layer gave up: {_ABORTS.get(reason, f'reason {reason}')}"
