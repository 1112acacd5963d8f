"""Secrets in configuration documents: sealed where they are stored, never shown, never dumped in plain.

A secret has one of three forms. *Plain* is what a person types; it exists between the request and the sealing, and
dumping a document that still holds one raises. *Sealed* (``sealed:v1:<key>:<box>``) is what lies in the bucket; only
``hermes_common.runtime.sealing`` opens it. The *mark* (``sealed:<fingerprint>``) is what everybody else is shown: that
there is a secret, and whether it is the same one as before. Sent back, the mark means "keep it".
"""

import hashlib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, SecretStr, StringConstraints, WithJsonSchema

from hermes_common.passcodes import is_passcode_hash

PREFIX = "sealed:"
SEALED = "sealed:v1:"
_MARK = re.compile(r"sealed:[0-9a-f]{12}")
LONGEST = 16 * 1024
"""Characters of a plain secret: a private key fits."""


def _check(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) > 2 * LONGEST:
        raise ValueError(f"a secret has at most {LONGEST} characters")
    return value


def _dump(value: SecretStr) -> str:
    text = value.get_secret_value()
    if text and not text.startswith(PREFIX):
        raise ValueError("a secret has to be sealed before the document is written")
    return text


Secret = Annotated[
    SecretStr,
    AfterValidator(_check),
    PlainSerializer(_dump, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "writeOnly": True,
            "description": "Typed in plain; shown only as a mark (sealed:...), which means 'keep it' when sent back.",
        }
    ),
]
"""A secret of a document, in any of its forms; empty is none."""

Pem = Annotated[str, StringConstraints(max_length=64 * 1024, strip_whitespace=True)]
"""Certificates in PEM, concatenated; nothing secret."""


def is_sealed(value: SecretStr) -> bool:
    """Return whether a secret is in the form in which it is stored."""
    return value.get_secret_value().startswith(SEALED)


def is_mark(text: str) -> bool:
    """Return whether a text is what :func:`mark_of` makes."""
    return _MARK.fullmatch(text) is not None


def mark_of(sealed: str) -> str:
    """Return the mark of a sealed secret, or of a kept passcode.

    The box differs at every sealing, and the salt at every keeping, so it says nothing about the secret.
    """
    return f"{PREFIX}{hashlib.sha256(sealed.encode()).hexdigest()[:12]}"


def shown(value: Any) -> Any:
    """Return a document, or a part of one, with every sealed secret and kept passcode replaced by its mark."""
    match value:
        case dict():
            return {key: shown(item) for key, item in value.items()}
        case list() | tuple():
            return [shown(item) for item in value]
        case str() if value.startswith(SEALED):
            return mark_of(value)
        case str() if value.startswith("scrypt$") and is_passcode_hash(value):
            return mark_of(value)
        case _:
            return value
