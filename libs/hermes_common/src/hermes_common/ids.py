"""Identifiers: DICOM UIDs as the bus and the object store may carry them, event and reception ids, slugs.

Nothing that arrives over DICOM becomes a path or a subject before it has passed one of these functions.
"""

import re
import uuid
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

NAMESPACE = uuid.UUID("6d0b4d3e-7f4f-5a55-9c7b-4d1a8a1f3c02")
"""Namespace of the ids that are derived, so that doing a thing twice says it under the same id."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class InvalidIdentifierError(ValueError):
    """A UID or a slug that cannot be used as a key or a subject; the message says why."""


def check_uid(value: str) -> str:
    """Return ``value`` if it is usable as a UID, raise :class:`InvalidIdentifierError` otherwise.

    Digits and single dots, at most 64 characters (PS3.5 9.1). Leading zeros in a component are against the
    standard but common in practice and harmless, so they are accepted.
    """
    if not value:
        raise InvalidIdentifierError("the UID is empty")
    if len(value) > 64:
        raise InvalidIdentifierError(f"the UID has {len(value)} characters, 64 are allowed (PS3.5 9.1)")
    if not _UID.fullmatch(value):
        raise InvalidIdentifierError("the UID has characters other than digits and single dots")  # it may be a name
    return value


def check_slug(value: str) -> str:
    """Return ``value`` if it is a slug: lower-case letters, digits and inner hyphens, at most 63 characters."""
    if not _SLUG.fullmatch(value):
        raise InvalidIdentifierError(
            f"{value[:80]!r} is not a short name: use lower-case letters, digits and hyphens, at most 63 characters"
        )
    return value


def uid_token(uid: str) -> str:
    """Return the UID as one subject token: its dots become hyphens."""
    return check_uid(uid).replace(".", "-")


def token_uid(token: str) -> str:
    """Return the UID that :func:`uid_token` made ``token`` of."""
    return check_uid(token.replace("-", "."))


def derived_id(*parts: str) -> str:
    """Return an id that is the same for the same parts, for what must be said once however often it is done."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


def delivery_id(batch_id: str, target: str, command_id: str = "") -> str:
    """Return the id of the delivery of a batch to a target, by rules or a command: the same however often planned."""
    return derived_id("delivery", batch_id, target, command_id)


def uuid7(milliseconds: int, random: bytes) -> uuid.UUID:
    """Return the version 7 UUID (RFC 9562 5.7) of a Unix time in milliseconds and ten random bytes."""
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return uuid.UUID(int=value)


Uid = Annotated[str, AfterValidator(check_uid)]
Slug = Annotated[str, AfterValidator(check_slug)]
AeTitle = Annotated[str, StringConstraints(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")]
"""An AE title: up to 16 characters of the default repertoire without backslash or control (PS3.5 6.2)."""
