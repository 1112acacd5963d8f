"""The ledger as the handler sees it: the books behind a connection."""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case

from hermes_bookkeeper.adapters import books
from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.facts import Fact
from hermes_common.auditchain import NO_KEY, ChainKey
from hermes_common.runtime.clock import now
from hermes_common.runtime.crashpoints import crash_point


class SqlLedger:
    """Facts in PostgreSQL."""

    def __init__(self, database: Database, key: ChainKey = NO_KEY) -> None:
        self._database = database
        self._key = key

    async def record(self, facts: Sequence[Fact]) -> list[Say]:
        """Take facts down in one transaction, each once however often it comes; return the alerts to say.

        Raises DatabaseUnavailableError or RefusedError; then nothing was taken down, or the same can be done again.
        """

        def work(cursor: Cursor) -> list[Say]:
            says = books.record(cursor, facts, now(), self._key)
            crash_point("bookkeeper.uncommitted")
            return says

        return await self._database.run(work)
