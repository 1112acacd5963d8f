"""What can go wrong with the object store, named after the situation.

    StoreError
    ├── StoreUnavailable      try again later: down, unreachable, slow, answering nonsense
    │   ├── StoreFull         no space or quota left: try again after space returns
    │   └── StoreDenied       wrong credentials, missing rights, read-only: a person has to act, then it heals by itself
    ├── ObjectMissing         the store was asked and has no such object
    ├── ObjectTooLarge        larger than the caller's limit, or than one PUT can carry: trying again is of no use
    └── KeyInvalid            not a key that we generate: never sent to the store

Adapters translate every foreign error into one of these (``raise … from exc``). An ``OSError`` that leaves an adapter
concerns the caller's own source file, never the store.
"""

# ruff: noqa: N818 - errors are named after the situation, not after the word "error"

from __future__ import annotations

from hermes_common.runtime.errors import TransientError


class StoreError(Exception):
    """Anything that the object store, or the use of it, can raise."""


class StoreUnavailable(StoreError, TransientError):
    """The store could not do it now; nothing is known about the object. Try again later."""


class StoreFull(StoreUnavailable):
    """No space or no quota left."""


class StoreDenied(StoreUnavailable):
    """The store refuses us: credentials, rights, or a read-only volume."""


class ObjectMissing(StoreError):
    """There is no object under ``key``."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r} in the store")
        self.key = key


class ObjectTooLarge(StoreError):
    """The object under ``key`` has ``size`` bytes, and the limit is ``limit``."""

    def __init__(self, key: str, size: int, limit: int) -> None:
        super().__init__(f"object {key!r} has {size} bytes; the limit is {limit}")
        self.key = key
        self.size = size
        self.limit = limit


class KeyInvalid(StoreError):
    """``key`` cannot name an object."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"invalid object key {key[:80]!r}: {reason}")
        self.key = key
        self.reason = reason
