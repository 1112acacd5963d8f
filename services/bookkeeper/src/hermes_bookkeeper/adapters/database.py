"""A connection to PostgreSQL, made again whenever it breaks; its errors are translated (``errors.py``)."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # psycopg2 spells its classes in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from hermes_bookkeeper.errors import DatabaseUnavailableError, RefusedError

log = logging.getLogger(__name__)

T = TypeVar("T")

_REFUSALS = ("21", "22", "23", "54")
"""SQLSTATE classes that the values are to blame for: cardinality, data, constraints, limits."""

_OPTIONS = "-c statement_timeout=60s -c lock_timeout=15s -c idle_in_transaction_session_timeout=60s -c timezone=UTC"


def connect_arguments(url: SecretStr, name: str) -> dict[str, Any]:
    """Return the arguments of ``psycopg2.connect`` for a SQLAlchemy URL. Every step on the network has a limit."""
    parsed = make_url(url.get_secret_value())
    given: dict[str, Any] = {key: value for key, value in parsed.query.items() if isinstance(value, str)}
    limits = {"connect_timeout": "5", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}
    return {
        **limits,
        "tcp_user_timeout": "30000",
        "application_name": f"hermes-{name}",
        **given,
        **parsed.translate_connect_args(username="user", database="dbname"),
        "options": f"{given.get('options', '')} {_OPTIONS}".strip(),
    }


def translated(error: psycopg2.Error) -> DatabaseUnavailableError | RefusedError:
    """Return the error that an error of PostgreSQL means to us.

    Only in the server's first words: its details quote rows and statements, and these end in alerts and on pages.
    """
    text = " ".join((error.diag.message_primary or str(error)).split())
    if error.pgcode is not None and error.pgcode[:2] in _REFUSALS:
        return RefusedError(f"PostgreSQL refused it ({error.pgcode}): {text}"[:2000])
    if error.pgcode is None and isinstance(error, psycopg2.DataError):
        return RefusedError(f"PostgreSQL refused it: {text}"[:2000])
    return DatabaseUnavailableError(f"PostgreSQL: {text or type(error).__name__}")


class Database:
    """One connection, used by one piece of work at a time, each in a transaction of its own."""

    def __init__(self, url: SecretStr, name: str) -> None:
        self._arguments = connect_arguments(url, name)
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._problem: str | None = "PostgreSQL has not been reached yet"

    def problem(self) -> str | None:
        """Return what was wrong at the last use, in words, or None."""
        return self._problem

    def note(self, problem: str | None) -> None:
        """Record what somebody else saw of the same database."""
        self._problem = problem

    async def run(self, work: Callable[[Cursor], T]) -> T:
        """Do ``work`` in a thread, in one transaction that is committed on return.

        Raises :class:`DatabaseUnavailableError` or :class:`RefusedError`; then nothing of it was done. (A connection
        that breaks during the commit leaves that open: do the same again, and it counts once.)
        """
        async with self._lock:
            return await asyncio.to_thread(self._run, work)

    async def close(self) -> None:
        """Disconnect."""
        async with self._lock:
            await asyncio.to_thread(self._drop)

    def _run(self, work: Callable[[Cursor], T]) -> T:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg2.connect(**self._arguments)
            with self._connection, self._connection.cursor() as cursor:
                result = work(cursor)
        except psycopg2.Error as error:
            meaning = translated(error)
            if isinstance(meaning, DatabaseUnavailableError):
                self._drop()
                self._problem = str(meaning)
            raise meaning from error
        self._problem = None
        return result

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None
