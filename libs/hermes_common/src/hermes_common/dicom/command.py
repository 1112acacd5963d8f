"""DIMSE command sets (C-ECHO, C-STORE, N-ACTION, N-EVENT-REPORT, N-CREATE, N-SET), implicit VR little endian (PS3.7
6.3, 9, 10, E.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hermes_common.dicom.errors import MalformedCommand

MAX_COMMAND_LENGTH: Final = 64 * 1024
NO_DATA_SET: Final = 0x0101
HAS_DATA_SET: Final = 0x0000
RESPONSE_BIT: Final = 0x8000
MAX_COMMENT: Final = 64
"""Characters that Error Comment (0000,0902), a LO, can hold."""

_HEAD = struct.Struct("<HHL")

AFFECTED_SOP_CLASS: Final = 0x0002
REQUESTED_SOP_CLASS: Final = 0x0003
COMMAND_FIELD: Final = 0x0100
MESSAGE_ID: Final = 0x0110
RESPONDED_TO: Final = 0x0120
PRIORITY: Final = 0x0700
DATA_SET_TYPE: Final = 0x0800
STATUS: Final = 0x0900
OFFENDING_ELEMENT: Final = 0x0901
ERROR_COMMENT: Final = 0x0902
ERROR_ID: Final = 0x0903
AFFECTED_SOP_INSTANCE: Final = 0x1000
REQUESTED_SOP_INSTANCE: Final = 0x1001
EVENT_TYPE: Final = 0x1002
ATTRIBUTE_IDENTIFIERS: Final = 0x1005
ACTION_TYPE: Final = 0x1008
MOVE_ORIGINATOR_AET: Final = 0x1030
MOVE_ORIGINATOR_ID: Final = 0x1031


class CommandField(IntEnum):
    """Command Field (0000,0100) of the messages that Hermes sends or answers (PS3.7 E.1-1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    C_CANCEL_RQ = 0x0FFF


@dataclass(frozen=True, slots=True)
class CommandSet:
    """A decoded command set: element number of group 0000 to raw value."""

    elements: dict[int, bytes]

    def number(self, element: int) -> int | None:
        """Return the US value of ``element``, or None when it is absent or not two bytes long."""
        raw = self.elements.get(element, b"")
        return int.from_bytes(raw, "little") if len(raw) == 2 else None

    def text(self, element: int) -> str:
        """Return the text of ``element`` without padding; empty when absent. Bytes beyond ASCII pass as Latin-1."""
        return self.elements.get(element, b"").decode("latin-1").replace("\0", "").strip(" ")

    @property
    def field(self) -> int:
        """The command field; present, or :func:`decode_command` would have refused the set."""
        return int.from_bytes(self.elements[COMMAND_FIELD], "little")

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows (any Command Data Set Type but 0x0101)."""
        return self.number(DATA_SET_TYPE) != NO_DATA_SET

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.field & RESPONSE_BIT)


def decode_command(data: bytes) -> CommandSet:
    """Decode a command set.

    Raises :class:`MalformedCommand` if elements reach beyond the data, another group than 0000 occurs, or Command
    Field or
    Command Data Set Type are missing.
    """
    elements: dict[int, bytes] = {}
    offset, end = 0, len(data)
    while offset < end:
        if offset + 8 > end:
            raise MalformedCommand("the command set ends inside an element")
        group, element, length = _HEAD.unpack_from(data, offset)
        if group != 0:
            raise MalformedCommand(f"the command set contains an element of group {group:04x}")
        offset += 8
        if offset + length > end:
            raise MalformedCommand(f"(0000,{element:04x}) reaches beyond the command set")
        elements[element] = data[offset : offset + length]
        offset += length
    for required in (COMMAND_FIELD, DATA_SET_TYPE):
        if len(elements.get(required, b"")) != 2:
            raise MalformedCommand(f"(0000,{required:04x}) is missing")
    return CommandSet(elements)


def encode_command(elements: dict[int, int | str | tuple[int, ...]]) -> bytes:
    """Encode a command set: numbers as US, texts as UI / AE / LO (padded even), tuples of tags as AT; adds the group
    length.
    """
    body = bytearray()
    for element in sorted(elements):
        value = _raw(element, elements[element])
        body += _HEAD.pack(0, element, len(value)) + value
    return _HEAD.pack(0, 0, 4) + struct.pack("<L", len(body)) + bytes(body)


def _raw(element: int, value: int | str | tuple[int, ...]) -> bytes:
    match value:
        case int():
            return struct.pack("<H", value)
        case str():
            raw = value.encode("ascii", "replace")
            pad = b" " if element in (ERROR_COMMENT, MOVE_ORIGINATOR_AET) else b"\0"
            return raw + pad * (len(raw) % 2)
        case _:
            return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)


def echo_request(message_id: int) -> bytes:
    """Encode a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return encode_command(
        {
            AFFECTED_SOP_CLASS: "1.2.840.10008.1.1",
            COMMAND_FIELD: CommandField.C_ECHO_RQ,
            MESSAGE_ID: message_id,
            DATA_SET_TYPE: NO_DATA_SET,
        }
    )


def store_request(
    message_id: int,
    sop_class: str,
    sop_instance: str,
    *,
    priority: int = 0,
    move_originator: tuple[str, int] | None = None,
) -> bytes:
    """Encode a C-STORE-RQ (PS3.7 9.3.1.1); ``priority`` 0 medium, 1 high, 2 low."""
    elements: dict[int, int | str | tuple[int, ...]] = {
        AFFECTED_SOP_CLASS: sop_class,
        COMMAND_FIELD: CommandField.C_STORE_RQ,
        MESSAGE_ID: message_id,
        PRIORITY: priority,
        DATA_SET_TYPE: HAS_DATA_SET,
        AFFECTED_SOP_INSTANCE: sop_instance,
    }
    if move_originator is not None:
        elements[MOVE_ORIGINATOR_AET], elements[MOVE_ORIGINATOR_ID] = move_originator
    return encode_command(elements)


def event_report_request(message_id: int, sop_class: str, sop_instance: str, event_type: int) -> bytes:
    """Encode an N-EVENT-REPORT-RQ with a data set (PS3.7 10.3.1.1)."""
    return encode_command(
        {
            AFFECTED_SOP_CLASS: sop_class,
            COMMAND_FIELD: CommandField.N_EVENT_REPORT_RQ,
            MESSAGE_ID: message_id,
            DATA_SET_TYPE: HAS_DATA_SET,
            AFFECTED_SOP_INSTANCE: sop_instance,
            EVENT_TYPE: event_type,
        }
    )


def action_request(message_id: int, sop_class: str, sop_instance: str, action_type: int) -> bytes:
    """Encode an N-ACTION-RQ with a data set (PS3.7 10.3.4.1)."""
    return encode_command(
        {
            REQUESTED_SOP_CLASS: sop_class,
            COMMAND_FIELD: CommandField.N_ACTION_RQ,
            MESSAGE_ID: message_id,
            DATA_SET_TYPE: HAS_DATA_SET,
            REQUESTED_SOP_INSTANCE: sop_instance,
            ACTION_TYPE: action_type,
        }
    )


def response_to(
    request: CommandSet,
    status: int,
    *,
    comment: str = "",
    offending: tuple[int, ...] = (),
    identifiers: tuple[int, ...] = (),
    error_id: int | None = None,
) -> bytes:
    """Encode the response to any request, with the affected SOP class and instance taken from it (PS3.7 9.3, 10.3, C).

    ``comment`` is cut to the 64 characters of Error Comment (0000,0902); ``offending`` are tags for (0000,0901),
    ``identifiers`` for Attribute Identifier List (0000,1005); ``error_id`` is (0000,0903).
    """
    elements: dict[int, int | str | tuple[int, ...]] = {
        COMMAND_FIELD: request.field | RESPONSE_BIT,
        RESPONDED_TO: request.number(MESSAGE_ID) or 0,
        DATA_SET_TYPE: NO_DATA_SET,
        STATUS: status,
    }
    for affected, requested in (
        (AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS),
        (AFFECTED_SOP_INSTANCE, REQUESTED_SOP_INSTANCE),
    ):
        if text := request.text(affected) or request.text(requested):
            elements[affected] = text[:64]
    for kind in (ACTION_TYPE, EVENT_TYPE):
        if (number := request.number(kind)) is not None:
            elements[kind] = number
    if comment:
        elements[ERROR_COMMENT] = comment[:MAX_COMMENT]
    if offending:
        elements[OFFENDING_ELEMENT] = offending
    if identifiers:
        elements[ATTRIBUTE_IDENTIFIERS] = identifiers
    if error_id is not None:
        elements[ERROR_ID] = error_id
    return encode_command(elements)
