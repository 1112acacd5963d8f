"""Passcodes of DICOM senders as they are kept: salted and stretched (scrypt, RFC 7914), never the passcode itself."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

SALT_LENGTH: Final = 16
_N, _R, _P = 2**14, 8, 1
"""16 MiB and some 40 ms a guess."""


def hash_passcode(passcode: bytes, salt: bytes) -> str:
    """Return what is kept of a passcode: ``scrypt$<salt>$<hash>``, both in base64. ``salt`` is 16 random bytes."""
    if len(salt) != SALT_LENGTH:
        raise ValueError(f"a salt has {SALT_LENGTH} bytes")
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(_stretch(passcode, salt)).decode()}"


def is_passcode_hash(text: str) -> bool:
    """Whether ``text`` is what :func:`hash_passcode` makes."""
    return _parts(text) is not None


def passcode_fits(passcode: bytes, kept: str) -> bool:
    """Whether ``passcode`` is the one of which ``kept`` is kept; compared in constant time."""
    parts = _parts(kept)
    return parts is not None and hmac.compare_digest(_stretch(passcode, parts[0]), parts[1])


def _stretch(passcode: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(passcode, salt=salt, n=_N, r=_R, p=_P, dklen=32)


def _parts(text: str) -> tuple[bytes, bytes] | None:
    name, _, rest = text.partition("$")
    salt, _, value = rest.partition("$")
    try:
        parts = base64.b64decode(salt, validate=True), base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return parts if name == "scrypt" and len(parts[0]) == SALT_LENGTH and len(parts[1]) == 32 else None
