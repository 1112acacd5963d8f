"""The ledger as the handler sees it: the books behind a connection."""

from collections.abc import Sequence

from hermes_bookkeeper.adapters import books
from hermes_bookkeeper.adapters.database import Database
from hermes_bookkeeper.core.alerts import Say
from hermes_bookkeeper.core.facts import Fact
from hermes_common.runtime.clock import now


class SqlLedger:
    """Facts in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, facts: Sequence[Fact]) -> list[Say]:
        """Take facts down in one transaction, each once however often it comes; return the alerts to say.

        Raises DatabaseUnavailableError or RefusedError; then nothing was taken down, or the same can be done again.
        """
        return await self._database.run(lambda cursor: books.record(cursor, facts, now()))
