"""Codes of six digits that change every 30 seconds (RFC 6238), and the recovery codes for when they are lost."""

import hmac
import re
from datetime import datetime
from typing import Final

import pyotp

STEP: Final = 30
"""Seconds that a code is shown."""
DRIFT: Final = 1
"""Steps that the clock of the telephone may be early or late."""
RECOVERY_CODES: Final = 10
_ISSUER: Final = "Hermes"


def accepted_step(secret: str, typed: str, at: datetime, last: int | None) -> int | None:
    """Return the number of the time step that a code is of, or None if it does not fit.

    A step is good once: neither it nor an earlier one than ``last``, the last that was accepted (RFC 6238, 5.2).
    """
    code = re.sub(r"\s", "", typed)
    if re.fullmatch(r"[0-9]{6}", code) is None:
        return None
    present = int(at.timestamp()) // STEP
    generator = pyotp.TOTP(secret, interval=STEP)
    fitting = None
    for step in range(present - DRIFT, present + DRIFT + 1):
        is_fresh = last is None or step > last
        if hmac.compare_digest(generator.generate_otp(step), code) and is_fresh:
            fitting = step
    return fitting


def enrolment_address(secret: str, account: str) -> str:
    """Return what the QR code says to an authenticator."""
    return pyotp.TOTP(secret, interval=STEP).provisioning_uri(name=account, issuer_name=_ISSUER)


def fold_recovery(typed: str) -> str:
    """Return the form of a recovery code under which its hash is stored; people leave hyphens out."""
    return re.sub(r"[^a-z0-9]", "", typed.lower())[:64]


def is_recovery(typed: str) -> bool:
    """Return whether what was typed is meant as a recovery code."""
    return len(fold_recovery(typed)) > 6
