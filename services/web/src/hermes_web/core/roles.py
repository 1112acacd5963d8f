"""Who may do what: the roles, and who is asking."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal


class Role(StrEnum):
    """What a route asks for; ``public`` is no role of an account."""

    PUBLIC = "public"
    SENDER = "sender"
    """Only of tokens: may send instances (STOW-RS), and see nothing."""
    VIEWER = "viewer"
    ADMIN = "admin"


AccountRole = Literal["viewer", "admin"]
TokenRole = Literal["sender", "viewer", "admin"]

PUBLIC: Final[dict[str, Any]] = {"role": Role.PUBLIC}
SENDER: Final[dict[str, Any]] = {"role": Role.SENDER}
VIEWER: Final[dict[str, Any]] = {"role": Role.VIEWER}
ADMIN: Final[dict[str, Any]] = {"role": Role.ADMIN}
"""The ``opt`` of a route that declares its role."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request. ``session`` is the stored hash of the session's id, ``csrf`` the token bound to it."""

    name: str
    role: Role
    via: Literal["session", "token"]
    session: str = ""
    csrf: str = ""
    account: str | None = None
    """The account behind it, whose end is also the end of what it made; None for the token of the installation."""
    is_external: bool = False
    """Whether an identity provider answers for the account."""
    has_factor: bool = False
    """Whether the account has a second factor here."""
    unmasked: bool = False
    """Whether the session was told to show names of patients."""
    must_enrol: bool = False
    """Whether nothing may be done before a second factor is there."""

    @property
    def is_admin(self) -> bool:
        """Whether the administrator's actions are allowed."""
        return self.role is Role.ADMIN


def needs_factor(policy: Literal["optional", "administrators", "everybody"], principal: Principal) -> bool:
    """Return whether a policy asks for a second factor that this account does not have yet."""
    if principal.via == "token" or principal.is_external or principal.has_factor:
        return False
    return policy == "everybody" or (policy == "administrators" and principal.is_admin)


def sees_names(policy: Literal["everybody", "administrators"], principal: Principal | None) -> bool:
    """Return whether names of patients may be shown: to whom the policy says, in a session once it was asked for."""
    if policy == "everybody":
        return True
    return principal is not None and principal.is_admin and (principal.via == "token" or principal.unmasked)


def allows(required: Role, principal: Principal | None) -> bool:
    """Return whether a route that asks for ``required`` is open to the principal."""
    match required:
        case Role.PUBLIC:
            return True
        case Role.SENDER:
            return principal is not None and principal.role is not Role.VIEWER
        case Role.VIEWER:
            return principal is not None and principal.role is not Role.SENDER
        case Role.ADMIN:
            return principal is not None and principal.is_admin
