"""PostgreSQL: a bounded pool, used from as many threads, with a time limit on every statement."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hermes_web.adapters.schema import SCHEMA
from hermes_web.errors import DatabaseUnavailableError, LedgerMissingError, MalformedError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_MIGRATION_LOCK = 0x6865726D_77656231  # "herm" "web1"
_MISSING = frozenset({"42P01", "3F000", "42883"})  # undefined_table, invalid_schema_name, undefined_function
_QUERY_CANCELED = "57014"
_NO_TEXT = "22P05"
"""SQLSTATE of a document with a character that no text of PostgreSQL holds."""


class Database:
    """The connections of this process."""

    def __init__(self, url: str, pool: int, statement_seconds: int) -> None:
        options = (
            f"-c statement_timeout={statement_seconds * 1000} -c lock_timeout=5000 -c timezone=UTC -c work_mem=16MB"
        )
        self._engine = create_engine(
            url,
            pool_size=pool,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,
            pool_recycle=1800,
            hide_parameters=True,  # values of patients never become part of an error message
            connect_args={"connect_timeout": 3, "options": options, "application_name": "hermes-web"},
        )
        self._threads = ThreadPoolExecutor(max_workers=pool, thread_name_prefix="sql")
        self._statement_seconds = statement_seconds
        self.is_ready = False
        """Whether the accounts' tables are there."""

    async def run(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in one transaction in a thread; it is committed when this returns.

        Raises :class:`DatabaseUnavailableError`, :class:`LedgerMissingError` without the tables of the history, or
        :class:`MalformedError` for a text with a NUL character, which PostgreSQL has no place for.
        """
        if not self.is_ready:
            raise DatabaseUnavailableError("The web service is not connected to the database yet")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: self._transact(work, *args, **kwargs))

    async def look(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one short statement that every page needs first, and wait for it no longer than PostgreSQL itself would.

        A server that hangs does not even say that it took too long: this does. Raises what :meth:`run` raises; whether
        the statement was done is not known after :class:`DatabaseUnavailableError`.
        """
        try:
            return await asyncio.wait_for(self.run(work, *args, **kwargs), self._statement_seconds)
        except TimeoutError as error:
            raise DatabaseUnavailableError(f"The database says nothing for {self._statement_seconds} s") from error

    def _transact(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _translated(), self._engine.begin() as connection:
            return work(connection, *args, **kwargs)

    async def prepare(self) -> None:
        """Wait for the database and bring the accounts' tables up to date; for ever, until it is done."""
        loop = asyncio.get_running_loop()
        while not self.is_ready:
            try:
                await loop.run_in_executor(self._threads, self._migrate)
                self.is_ready = True
            except OperationalError as error:
                log.warning("the database is not reachable yet: %s", str(error.orig).strip().splitlines()[0])
                await asyncio.sleep(1)

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                text("SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)")
            )
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            config = Config()
            config.set_main_option(
                "script_location", str(Path(__file__).parent.parent / "migrations").replace("%", "%%")
            )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Give every connection back."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) in _MISSING:
            raise LedgerMissingError("The tables of the history do not exist yet") from error
        raise
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("All connections to the database are busy") from error
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) == _QUERY_CANCELED:
            raise DatabaseUnavailableError(
                "The database took too long to answer", "Ask for less: narrow the search, or a shorter period."
            ) from error
        raise DatabaseUnavailableError("The database does not answer") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailableError("The connection to the database was lost") from error
        if getattr(error.orig, "pgcode", None) == _NO_TEXT:
            raise _nul() from error
        raise
    except ValueError as error:
        if "NUL (0x00)" not in str(error):  # the driver's words, before anything is sent
            raise
        raise _nul() from error


def _nul() -> MalformedError:
    return MalformedError("a text in it holds a character that is not text (NUL)", "Take the character out.")
