"""Sealing of the secrets of targets and channels: AES-256-GCM under a key of ``HERMES_SECRET_KEY`` (ADR 0007).

    SealingError
    +-- KeyMissingError      there is no HERMES_SECRET_KEY
    +-- KeyTooShortError     there is one that could be guessed: a service does not start with it
    +-- CannotOpenError      sealed under another key, for another field or destination, or damaged
    +-- SecretRefusedError   what was given for a secret cannot be used

A box is bound to the slug of the target or channel, its kind, the field and the destination: copied elsewhere it does
not open.
"""

import base64
import binascii
import os
from typing import Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from hermes_common.alerting import Alerting, AppriseChannel, WebhookChannel
from hermes_common.auditchain import ChainKey
from hermes_common.runtime.errors import UnusableSettingsError
from hermes_common.secrets import LONGEST, PREFIX, SEALED, is_sealed, mark_of
from hermes_common.targets import AnyTarget, Targets, secrets_of, with_secrets

SHORTEST: Final = 32
"""Characters of HERMES_SECRET_KEY; a shorter one could be guessed."""

_NONCE: Final = 12

Holder = TypeVar("Holder", bound=AnyTarget | AppriseChannel | WebhookChannel)
"""What has secrets: a target, or a channel of alerts."""


class SealingError(Exception):
    """A secret cannot be sealed or opened; the message says why and what to do, and holds nothing secret."""


class KeyMissingError(SealingError):
    """There is no key."""


class KeyTooShortError(SealingError, UnusableSettingsError):
    """The key could be guessed."""


class CannotOpenError(SealingError):
    """The box does not open with our key in this place."""


class SecretRefusedError(SealingError):
    """What was given for a secret cannot be used; ``field`` is its path in the target or channel."""

    def __init__(self, slug: str, field: str, reason: str) -> None:
        super().__init__(f"{slug}, {field}: {reason}")
        self.slug, self.field, self.reason = slug, field, reason


class Sealer:
    """Seals and opens secrets. Made of ``HERMES_SECRET_KEY``; of an empty one it can do neither, and says so."""

    def __init__(self, secret_key: SecretStr) -> None:
        text = secret_key.get_secret_value()
        if text and len(text) < SHORTEST:
            raise KeyTooShortError(
                f"HERMES_SECRET_KEY has fewer than {SHORTEST} characters; make one with: openssl rand -base64 48"
            )
        self._aead: AESGCM | None = None
        self.key_id = ""
        if text:
            key = HKDF(SHA256(), 32, salt=None, info=b"hermes target secrets v1").derive(text.encode())
            self._aead = AESGCM(key)
            digest = Hash(SHA256())
            digest.update(b"hermes key id" + key)
            self.key_id = digest.finalize().hex()[:8]

    def seal(self, plain: str, place: str) -> str:
        """Return ``plain`` sealed for ``place``."""
        nonce = os.urandom(_NONCE)
        box = self._key().encrypt(nonce, plain.encode(), place.encode())
        return f"{SEALED}{self.key_id}:{base64.urlsafe_b64encode(nonce + box).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Return what was sealed for ``place``; raise :class:`CannotOpenError`."""
        aead = self._key()
        key_id, _, body = sealed.removeprefix(SEALED).partition(":")
        if key_id != self.key_id:
            raise CannotOpenError(
                "it was sealed with another HERMES_SECRET_KEY: give every service the same one, or type it again"
            )
        try:
            raw = base64.urlsafe_b64decode(body.encode())
            return aead.decrypt(raw[:_NONCE], raw[_NONCE:], place.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise CannotOpenError("it is damaged, or was sealed for another place: type it again") from error

    def _key(self) -> AESGCM:
        if self._aead is None:
            raise KeyMissingError("HERMES_SECRET_KEY is not set: web, dispatcher and bookkeeper need the same one")
        return self._aead


def chain_key(secret_key: SecretStr) -> ChainKey:
    """Return the key of the audit's chain (ADR-0034), derived from ``HERMES_SECRET_KEY``; none from an empty one."""
    text = secret_key.get_secret_value()
    if not text:
        return ChainKey()
    key = HKDF(SHA256(), 32, salt=None, info=b"hermes audit chain v1").derive(text.encode())
    digest = Hash(SHA256())
    digest.update(b"hermes audit key id" + key)
    return ChainKey(key, digest.finalize().hex()[:8])


def place_of(target: Holder, field: str) -> str:
    """Return what a secret is bound to."""
    return "\x1f".join((target.slug, target.kind, field, target.destination))


def sealed_targets(targets: Targets, present: Targets, sealer: Sealer) -> Targets:
    """Return the document with every secret sealed: typed ones newly, marks replaced by what they stand for.

    Raises :class:`SecretRefusedError` for a mark that stands for nothing here, or :class:`KeyMissingError`.
    """
    return Targets(targets=tuple(_sealed(target, present.get(target.slug), sealer) for target in targets.targets))


def sealed_channels(alerting: Alerting, present: Alerting, sealer: Sealer) -> Alerting:
    """Return the document with the secrets of every channel sealed, as :func:`sealed_targets` does."""
    channels = tuple(_sealed(channel, present.channel(channel.slug), sealer) for channel in alerting.channels)
    return alerting.model_copy(update={"channels": channels})


def _sealed(target: Holder, before: Holder | None, sealer: Sealer) -> Holder:
    known = {} if before is None else secrets_of(before)
    found: dict[str, SecretStr] = {}
    for field, secret in secrets_of(target).items():
        text = secret.get_secret_value()
        if not text.startswith(PREFIX):
            if len(text) > LONGEST:
                raise SecretRefusedError(target.slug, field, f"a secret has at most {LONGEST} characters")
            found[field] = SecretStr(sealer.seal(text, place_of(target, field)))
            continue
        kept = known.get(field)
        if is_sealed(secret):
            _check_opens(target, field, text, sealer)
        elif kept is None or mark_of(kept.get_secret_value()) != text:
            raise SecretRefusedError(target.slug, field, "the secret that this mark stands for is not there: type it")
        elif before is not None and (before.kind, before.destination) != (target.kind, target.destination):
            raise SecretRefusedError(target.slug, field, "the address has changed: type the secret again for it")
        else:
            found[field] = kept
    return with_secrets(target, found)


def _check_opens(target: Holder, field: str, text: str, sealer: Sealer) -> None:
    """A sealed secret of an old revision may come back, if it is one for this very place."""
    try:
        sealer.open(text, place_of(target, field))
    except CannotOpenError as error:
        raise SecretRefusedError(target.slug, field, str(error)) from error


def opened(target: Holder, sealer: Sealer) -> Holder:
    """Return a target or channel with its secrets in plain, for whoever talks to it; raise :class:`SealingError`."""
    plain: dict[str, SecretStr] = {}
    for field, secret in secrets_of(target).items():
        text = secret.get_secret_value()
        if not is_sealed(secret):
            raise CannotOpenError(f"the {field} of {target.slug} is not sealed: save it again")
        try:
            plain[field] = SecretStr(sealer.open(text, place_of(target, field)))
        except CannotOpenError as error:
            raise CannotOpenError(f"the {field} of {target.slug} cannot be opened: {error}") from error
    return with_secrets(target, plain)
