"""Pseudonyms, UIDs and shifts of dates out of a key: the same key makes the same ones, and without it nobody goes back.

Each is an HMAC-SHA256 of what it stands for, so a series that is sent in two batches, or again after a year, stays
one series, and nothing has to be remembered.
"""

import base64
import calendar
import hashlib
import hmac
import re
from datetime import date, timedelta
from typing import Final

from pydicom._uid_dict import UID_dictionary

from hermes_common.ids import InvalidIdentifierError, check_uid

_DICOM: Final = "1.2.840.10008."
_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_DATE_TIME: Final = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?(?:[+-]\d{4})?)?)?)?"
)


class Identity:
    """What stands for the identifying values under one key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def _mac(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\x1f".join(parts).encode(), hashlib.sha256)

    def uid(self, uid: str) -> str:
        """Return the UID that stands for ``uid``; those that the standard defines stand for themselves.

        It is made of 128 bits (PS3.5 B.2), with the version and variant of a UUID of one's own making (RFC 9562 5.8).
        """
        if not uid or uid.startswith(_DICOM) or uid in UID_dictionary:
            return uid
        value = int.from_bytes(self._mac("uid", uid)[:16])
        value = value & ~(0xF << 76) | (0x8 << 76)
        value = value & ~(0x3 << 62) | (0x2 << 62)
        return f"2.25.{value}"

    def patient(self, patient_id: str, issuer: str, name: str) -> str:
        """Return the pseudonym of a patient, who is known by ID and issuer, or by name if there is no ID."""
        parts = ("patient", patient_id, issuer) if patient_id else ("patient by name", name)
        return "P" + base64.b32encode(self._mac(*parts)[:10]).decode()

    def days(self, pseudonym: str, most: int) -> int:
        """Return by how many days (1 to ``most``) the dates of a patient go back."""
        return 1 + int.from_bytes(self._mac("days", pseudonym)[:8]) % most


def lossy_uid(uid: str, syntax: str, ratio: float) -> str:
    """Return the UID of what an instance becomes by lossy compression (PS3.3 C.7.6.1.1.5: it is another instance)."""
    digest = hashlib.sha256(f"{uid}\x1f{syntax}\x1f{ratio:g}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


def shifted_date(text: str, days: int) -> str | None:
    """Return a DA value so many days earlier, in the present form of dates; None if it is no date."""
    found = _DATE.fullmatch(text.strip())
    moved = None if found is None else _earlier(int(found[1]), int(found[2]), int(found[3]), days)
    return None if moved is None else f"{moved:%Y%m%d}".rjust(8, "0")


def shifted_date_time(text: str, days: int) -> str | None:
    """Return a DT value so many days earlier, as precise as it was (PS3.5 6.2); None if it is no date and time."""
    found = _DATE_TIME.fullmatch(text.strip())
    if found is None:
        return None
    moved = _earlier(int(found[1]), int(found[2] or 1), int(found[3] or 1), days)
    if moved is None:
        return None
    digits = 4 if found[2] is None else 6 if found[3] is None else 8
    return f"{moved:%Y%m%d}".rjust(8, "0")[:digits] + (found[4] or "")


def _earlier(year: int, month: int, day: int, days: int) -> date | None:
    if not 1 <= month <= 12 or year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    try:
        return date(year, month, day) - timedelta(days=days)
    except OverflowError:
        return None


def usable_uid(uid: str) -> bool:
    """Return whether a text may be written as a UID."""
    try:
        check_uid(uid)
    except InvalidIdentifierError:
        return False
    return True
