"""Passwords: argon2id with 19 MiB, two passes, one lane (OWASP), in few threads, because each takes its memory."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError


class Hasher:
    """Hashes and verifies passwords."""

    def __init__(self) -> None:
        self._argon2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
        self._nobody = self._argon2.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._argon2.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Return whether the password fits; the same work is done where there is no stored hash."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, stored, password)

    def is_outdated(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._argon2.verify(stored if stored is not None else self._nobody, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
        return stored is not None


def new_recovery_code() -> str:
    """Return 80 random bits as text that people can copy: four groups of five letters and digits."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


def new_secret() -> str:
    """Return 256 random bits as text, for a session's id."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return under what a random secret is stored: it needs no slow hash, nobody can guess it."""
    return hashlib.sha256(secret.encode()).hexdigest()
