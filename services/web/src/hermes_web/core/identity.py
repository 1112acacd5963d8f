"""Who an identity provider says somebody is (OpenID Connect Core 1.0, 3.1.3.7), and whether that is enough."""

import base64
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hermes_web.core.passwords import fold_name, name_problem
from hermes_web.core.roles import AccountRole

SKEW: Final = timedelta(seconds=60)
"""By how much the clocks of the provider and of this machine may differ."""
OLDEST: Final = timedelta(minutes=10)
"""An ID token is used at once: an older one was kept by somebody."""
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a key that only the provider has: neither ``none`` nor one with the client's secret."""
_LONGEST: Final = 255


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one try to sign in is bound by; all of it follows from a secret that only the browser has."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """The PKCE challenge (RFC 7636, S256)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())


def handshake(secret: str) -> Handshake:
    """Return what belongs to the secret of a try; nothing of it says anything about the rest."""
    state, nonce, verifier = (
        _text(hashlib.sha256(f"hermes {use} {secret}".encode()).digest()) for use in ("state", "nonce", "verifier")
    )
    return Handshake(state, nonce, verifier)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why somebody does not come in, for the log and for who asked."""

    reason: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the provider knows: ``issuer`` and ``subject`` are who it is, ``name`` only how it is called."""

    issuer: str
    subject: str
    name: str
    role: AccountRole


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token has to say to be for us."""

    issuer: str
    client_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class RoleMapping:
    """Which values of which claim make whom; ``claim`` is a name, or a path such as ``realm_access.roles``."""

    claim: str
    admins: frozenset[str]
    viewers: frozenset[str]


def token_refusal(claims: Mapping[str, Any], expected: Expected, at: datetime) -> str | None:
    """Return why the claims of an ID token, whose signature was checked, are not accepted, or None."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    subject = claims.get("sub")
    if claims.get("iss") != expected.issuer:
        return "the ID token is of another issuer"
    if not isinstance(audiences, list) or expected.client_id not in audiences:
        return "the ID token is for another client"
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        return "the ID token was given to another client"
    if claims.get("nonce") != expected.nonce:
        return "the ID token belongs to another try to sign in (nonce)"
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST:
        return "the ID token does not say who it is about"
    return _time_refusal(claims, at)


def _time_refusal(claims: Mapping[str, Any], at: datetime) -> str | None:
    ends, issued, begins = (_time(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if ends is None or issued is None or ("nbf" in claims and begins is None):
        return "the ID token does not say when it was made and when it ends"
    if ends + SKEW <= at:
        return "the ID token has expired; if it was just made, the clock of this machine or of the provider is wrong"
    if issued - SKEW > at or (begins is not None and begins - SKEW > at):
        return "the ID token is of the future: the clock of this machine or of the provider is wrong"
    if at - issued > OLDEST + SKEW:
        return "the ID token is older than ten minutes; if it was just made, a clock is wrong"
    return None


def person_of(claims: Mapping[str, Any], issuer: str, name_claim: str, mapping: RoleMapping) -> Person | Refused:
    """Return who it is and with which role; without a value that maps to a role nobody comes in."""
    subject = str(claims["sub"])
    role = role_of(claims, mapping)
    if role is None:
        return Refused(f"no value of the claim {mapping.claim!r} gives a role here")
    return Person(issuer, subject, _account_name(claims.get(name_claim), subject), role)


def role_of(claims: Mapping[str, Any], mapping: RoleMapping) -> AccountRole | None:
    """Return the highest role that the claim gives, or None. Values are compared exactly, capitals included."""
    given = _values(claims, mapping.claim)
    if given & mapping.admins:
        return "admin"
    return "viewer" if given & mapping.viewers else None


def has_claim(claims: Mapping[str, Any], path: str) -> bool:
    """Return whether a claim is there at all."""
    return _find(claims, path) is not None


def listed(text: str) -> frozenset[str]:
    """Return the values of a setting that are separated by commas."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def usable_algorithms(offered: Collection[str]) -> list[str]:
    """Return with what a provider may sign: what it offers of what we accept; RS256 if it does not say."""
    return [name for name in ALGORITHMS if name in offered] or ["RS256"]


def _values(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    found = _find(claims, path)
    if isinstance(found, str):
        return frozenset({found})
    return frozenset(item for item in found if isinstance(item, str)) if isinstance(found, list) else frozenset()


def _find(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:  # a name with dots or slashes in it, such as https://example.org/roles
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _account_name(given: Any, subject: str) -> str:
    """Return the name that the provider says, if it can be one of ours; else one made of who it is."""
    name = fold_name(given) if isinstance(given, str) else ""
    return name if name_problem(name) is None else f"sso-{hashlib.sha256(subject.encode()).hexdigest()[:12]}"


def _time(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
