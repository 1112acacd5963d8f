"""Part-10 framing: the file meta information in front of a data set, written and read back (PS3.10 7.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hermes_common.dicom.errors import NotPart10
from hermes_common.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

PREAMBLE_LENGTH: Final = 128
PREFIX: Final = b"DICM"
MAX_META_LENGTH: Final = 64 * 1024
"""Longest group 0002 that is believed, in bytes; real ones have a few hundred."""

_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sHL")

_TEXT_ELEMENTS: Final = (
    (0x0002, b"UI", "sop_class_uid"),
    (0x0003, b"UI", "sop_instance_uid"),
    (0x0010, b"UI", "transfer_syntax"),
    (0x0012, b"UI", "implementation_class_uid"),
    (0x0013, b"SH", "implementation_version"),
    (0x0016, b"AE", "source_aet"),
    (0x0017, b"AE", "sending_aet"),
    (0x0018, b"AE", "receiving_aet"),
    (0x0026, b"UR", "source_address"),
    (0x0027, b"UR", "sending_address"),
    (0x0028, b"UR", "receiving_address"),
    (0x0100, b"UI", "private_creator_uid"),
)


@dataclass(frozen=True, slots=True)
class FileMeta:
    """Group 0002 as values (PS3.10 table 7.1-1); an empty text is an absent element.

    ``source_aet`` is the AE that the data set came from, ``sending_aet`` / ``receiving_aet`` the two ends of the
    association,
    the addresses are URIs ``dicom://host:port``. ``private_information`` is opaque bytes whose meaning
    ``private_creator_uid`` names.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    source_aet: str = ""
    sending_aet: str = ""
    receiving_aet: str = ""
    source_address: str = ""
    sending_address: str = ""
    receiving_address: str = ""
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version: str = IMPLEMENTATION_VERSION
    private_creator_uid: str = ""
    private_information: bytes = b""


@dataclass(frozen=True, slots=True)
class Part10:
    """File meta information and the offset, in bytes from the start of the file, at which the data set begins."""

    meta: FileMeta
    offset: int


def dicom_uri(host: str, port: int) -> str:
    """Return the presentation address of (0002,0026) to (0002,0028) as a URI; IPv6 hosts are bracketed."""
    return f"dicom://[{host}]:{port}" if ":" in host else f"dicom://{host}:{port}"


def encode_file_meta(meta: FileMeta) -> bytes:
    """Return preamble, prefix and group 0002, ready to stand before the data set bytes.

    The private information, if any, is the last element, so its (even-padded) bytes are the last of the result.
    """
    body = bytearray(_long(0x0001, b"OB", b"\x00\x01"))
    for element, vr, field in _TEXT_ELEMENTS:
        text = getattr(meta, field)
        if text:
            value = text.encode("ascii", "replace")
            pad = b"\0" if vr == b"UI" else b" "
            value += pad * (len(value) % 2)
            body += _long(element, vr, value) if vr in _LONG_VRS else _SHORT.pack(2, element, vr, len(value)) + value
    if meta.private_information:
        value = meta.private_information
        body += _long(0x0102, b"OB", value + b"\0" * (len(value) % 2))
    length = _SHORT.pack(2, 0, b"UL", 4) + struct.pack("<L", len(body))
    return bytes(PREAMBLE_LENGTH) + PREFIX + length + bytes(body)


def _long(element: int, vr: bytes, value: bytes) -> bytes:
    return _LONG.pack(2, element, vr, 0, len(value)) + value


def is_part10(head: bytes) -> bool:
    """Whether ``head`` (at least 132 bytes) starts like a Part-10 file."""
    return head[PREAMBLE_LENGTH : PREAMBLE_LENGTH + 4] == PREFIX


def parse_file_meta(head: bytes) -> Part10:
    """Read group 0002 from the first bytes of a file; the group length element is not trusted, every element is walked.

    Raises :class:`NotPart10` when prefix or (0002,0010) are missing, the group is longer than :data:`MAX_META_LENGTH`,
    or ``head`` ends inside the group.
    """
    if not is_part10(head):
        raise NotPart10("there is no DICM prefix after the preamble")
    values: dict[int, bytes] = {}
    offset = PREAMBLE_LENGTH + 4
    limit = min(len(head), offset + MAX_META_LENGTH)
    while offset + 8 <= limit and head[offset : offset + 2] == b"\x02\x00":
        element, start, end = _element(head, offset, limit)
        values[element] = head[start:end]
        offset = end
    if offset + 8 > limit and limit != len(head):
        raise NotPart10(f"the file meta information is longer than {MAX_META_LENGTH} bytes")
    fields: dict[str, str] = {
        name: values.get(number, b"").decode("ascii", "replace").strip(" \0") for number, _, name in _TEXT_ELEMENTS
    }
    if not fields["transfer_syntax"]:
        raise NotPart10("the file meta information names no transfer syntax (0002,0010)")
    return Part10(FileMeta(**fields, private_information=values.get(0x0102, b"")), offset)


def _element(head: bytes, offset: int, limit: int) -> tuple[int, int, int]:
    """Return element number, start and end of the value of the group-0002 element at ``offset``."""
    _, element, vr, length = _SHORT.unpack_from(head, offset)
    start = offset + 8
    if vr in _LONG_VRS:
        if start + 4 > limit:
            raise NotPart10(f"the file meta information ends inside (0002,{element:04x})")
        (length,) = struct.unpack_from("<L", head, start)
        start += 4
    if start + length > limit:
        raise NotPart10(f"the file meta information ends inside (0002,{element:04x})")
    return element, start, start + length
