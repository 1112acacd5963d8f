"""API tokens as services without a database know them: hashes, mirrored by the web service into ``hermes_state``."""

import hashlib
import hmac
import re
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from hermes_common.events.base import Time

KEY: Final = "access.tokens"
"""Key of the list in the bucket."""


class AccessToken(BaseModel):
    """A valid token: its name, its role, the hexadecimal SHA-256 of its secret (256 random bits)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    role: Literal["sender", "viewer", "admin"]
    digest: str
    expires_at: Time | None = None

    @property
    def may_send(self) -> bool:
        """Whether its holder may send instances."""
        return self.role in ("sender", "admin")

    @property
    def aet(self) -> str:
        """The AE title under which its holder counts as a sender: its name, as far as an AE title goes."""
        return re.sub(r"[^ -\[\]-~]", "", self.name)[:16].strip() or "STOW"


class AccessList(BaseModel):
    """Every token that is valid."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tokens: tuple[AccessToken, ...] = ()

    def find(self, secret: str, at: datetime) -> AccessToken | None:
        """Return the token of that secret if it is valid at ``at``."""
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = next((token for token in self.tokens if hmac.compare_digest(token.digest, digest)), None)
        if found is None or (found.expires_at is not None and found.expires_at <= at):
            return None
        return found
