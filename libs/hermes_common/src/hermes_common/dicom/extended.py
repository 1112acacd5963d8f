"""What an association negotiates besides presentation contexts: roles, operations window, extended negotiation, user
identity (PS3.7 D.3.3.3 to D.3.3.7).

The sub-items are read here, byte by byte, because senders write them in many ways: one that cannot be followed is left
out, as if it had not been proposed, and costs nobody the association.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

MAX_ITEMS: Final = 1024
"""Sub-items that are read of one request; the rest is left out."""

_ITEM = struct.Struct(">BxH")
_LENGTH = struct.Struct(">H")
_PDU_ITEMS: Final = 74
"""Where the variable items of an A-ASSOCIATE PDU begin, PDU header included (PS3.8 9.3.2)."""
_USER_INFORMATION: Final = 0x50
_WINDOW: Final = 0x53
_ROLE: Final = 0x54
_EXTENDED: Final = 0x56
_COMMON: Final = 0x57
_IDENTITY: Final = 0x58
_IDENTITY_RESPONSE: Final = 0x59
_OURS: Final = frozenset({_WINDOW, _ROLE, _EXTENDED, _COMMON, _IDENTITY, _IDENTITY_RESPONSE})


class IdentityKind(IntEnum):
    """User-Identity-Type (PS3.7 table D.3-14)."""

    USERNAME = 1
    USERNAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


@dataclass(frozen=True, slots=True)
class Roles:
    """Which roles the requestor proposes, or is granted, for one SOP class (PS3.7 D.3.3.4)."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ServiceInformation:
    """Service-class-application-information for one SOP class (PS3.7 D.3.3.5)."""

    sop_class: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonInformation:
    """To which service class a SOP class belongs, and which general ones it specialises (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    general_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the requestor says its user is. The fields are secrets: they have no representation in text."""

    kind: int
    """An :class:`IdentityKind`, or a number that the standard does not know yet."""
    wants_response: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)

    @property
    def words(self) -> str:
        """What kind of identity it is, for people."""
        try:
            return IdentityKind(self.kind).name.lower().replace("_", " ")
        except ValueError:
            return f"identity type {self.kind}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """The sub-items of a request, each SOP class once: the first counts."""

    window: tuple[int, int] | None = None
    """Operations the requestor would invoke and perform at once; 0 is any number."""
    roles: tuple[Roles, ...] = ()
    information: tuple[ServiceInformation, ...] = ()
    common: tuple[CommonInformation, ...] = ()
    identity: UserIdentity | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The sub-items of an accept. ``identity_response`` is what answers a verified identity that wants an answer."""

    window: tuple[int, int] | None = None
    roles: tuple[Roles, ...] = ()
    information: tuple[ServiceInformation, ...] = ()
    identity_response: bytes | None = None


def split_request(pdu: bytes) -> tuple[Proposal, bytes]:
    """Return what an A-ASSOCIATE-RQ proposes besides contexts, and the same PDU without those sub-items."""
    if len(pdu) < _PDU_ITEMS:
        return Proposal(), pdu
    kept = bytearray(pdu[:_PDU_ITEMS])
    ours: list[tuple[int, bytes]] = []
    offset = _PDU_ITEMS
    while offset + 4 <= len(pdu):
        kind, length = _ITEM.unpack_from(pdu, offset)
        item = pdu[offset : offset + 4 + length]
        if kind == _USER_INFORMATION:
            others = b"".join(
                _ITEM.pack(sub, len(body)) + body for sub, body in _items(item[4:], ours) if sub not in _OURS
            )
            item = _ITEM.pack(kind, len(others)) + others
        kept += item
        offset += 4 + length
    kept += pdu[offset:]
    kept[2:6] = struct.pack(">L", len(kept) - 6)
    return _proposal(ours[:MAX_ITEMS]), bytes(kept)


def _items(body: bytes, ours: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield every sub-item, noting those of this module; the last may be shorter than it says, and stays so."""
    offset = 0
    while offset + 4 <= len(body):
        kind, length = _ITEM.unpack_from(body, offset)
        value = body[offset + 4 : offset + 4 + length]
        if kind in _OURS and len(value) == length:
            ours.append((kind, value))
        yield kind, value
        offset += 4 + length


def _proposal(items: list[tuple[int, bytes]]) -> Proposal:
    window: tuple[int, int] | None = None
    identity: UserIdentity | None = None
    roles: dict[str, Roles] = {}
    information: dict[str, ServiceInformation] = {}
    common: dict[str, CommonInformation] = {}
    for kind, body in items:
        try:
            match kind:
                case 0x53:
                    invoked, performed = struct.unpack(">HH", body)
                    window = window or (invoked, performed)
                case 0x54:
                    sop_class, rest = _text(body)
                    roles.setdefault(sop_class, Roles(sop_class, rest[0] != 0, rest[1] != 0))
                case 0x56:
                    sop_class, rest = _text(body)
                    information.setdefault(sop_class, ServiceInformation(sop_class, rest))
                case 0x57:
                    entry = _common(body)
                    common.setdefault(entry.sop_class, entry)
                case 0x58:
                    identity = identity or _identity(body)
                case _:
                    continue  # an answer has no place in a request
        except (struct.error, IndexError, ValueError):
            continue
    return Proposal(window, tuple(roles.values()), tuple(information.values()), tuple(common.values()), identity)


def _common(body: bytes) -> CommonInformation:
    sop_class, rest = _text(body)
    service_class, rest = _text(rest)
    general, rest = _field(rest)
    classes = []
    while general:
        uid, general = _text(general)
        classes.append(uid)
    return CommonInformation(sop_class, service_class, tuple(classes))


def _identity(body: bytes) -> UserIdentity:
    kind, wants = body[0], body[1]
    primary, rest = _field(body[2:])
    secondary = _field(rest)[0] if len(rest) >= 2 else b""
    return UserIdentity(kind, bool(wants), primary, secondary)


def _field(body: bytes) -> tuple[bytes, bytes]:
    """Take a value with a length of two bytes before it; ValueError when it reaches beyond the body."""
    (length,) = _LENGTH.unpack_from(body)
    if 2 + length > len(body):
        raise ValueError("a field reaches beyond its sub-item")
    return body[2 : 2 + length], body[2 + length :]


def _text(body: bytes) -> tuple[str, bytes]:
    raw, rest = _field(body)
    return raw.decode("ascii").rstrip("\0 "), rest


def with_reply(pdu: bytes, reply: Reply) -> bytes:
    """Return an A-ASSOCIATE-AC, whose last item is the user information, with the sub-items of ``reply`` added."""
    added = bytearray()
    if reply.window is not None:
        added += _item(_WINDOW, struct.pack(">HH", *reply.window))
    for role in reply.roles:
        added += _item(_ROLE, _uid(role.sop_class) + bytes((role.scu, role.scp)))
    for entry in reply.information:
        added += _item(_EXTENDED, _uid(entry.sop_class) + entry.information)
    if reply.identity_response is not None:
        added += _item(_IDENTITY_RESPONSE, _LENGTH.pack(len(reply.identity_response)) + reply.identity_response)
    if not added:
        return pdu
    start = _user_information(pdu)
    (length,) = _LENGTH.unpack_from(pdu, start + 2)
    whole = bytearray(pdu) + added
    whole[start + 2 : start + 4] = _LENGTH.pack(length + len(added))
    whole[2:6] = struct.pack(">L", len(whole) - 6)
    return bytes(whole)


def _user_information(pdu: bytes) -> int:
    offset = _PDU_ITEMS
    while offset + 4 <= len(pdu):
        kind, length = _ITEM.unpack_from(pdu, offset)
        if kind == _USER_INFORMATION:
            return offset
        offset += 4 + length
    raise ValueError("the PDU has no user information")


def _item(kind: int, body: bytes) -> bytes:
    return _ITEM.pack(kind, len(body)) + body


def _uid(value: str) -> bytes:
    raw = value.encode("ascii")
    return _LENGTH.pack(len(raw)) + raw
