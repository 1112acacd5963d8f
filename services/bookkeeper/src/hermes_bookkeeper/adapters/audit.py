"""The chain of the audit and its anchors, as the handler sees them."""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # psycopg2 spells its classes in lower case

from hermes_bookkeeper.adapters import chain
from hermes_bookkeeper.adapters.database import Database
from hermes_common.auditchain import Anchor, ChainKey, Head, Report
from hermes_common.runtime.clock import now


class SqlChain:
    """The chain in PostgreSQL."""

    def __init__(self, database: Database, key: ChainKey) -> None:
        self._database, self._key = database, key

    async def adopt(self) -> int:
        """Take a slice of rows without a place over; return how many."""
        return await self._database.run(lambda cursor: chain.adopt(cursor, self._key, now()))

    async def head(self) -> tuple[Head, str] | None:
        """Return the head, and the id of the key that its row was hashed with; None before the first row."""

        def work(cursor: Cursor) -> tuple[Head, str] | None:
            found = chain.head(cursor)
            return None if found is None else (found, chain.key_id_at(cursor, found.sequence))

        return await self._database.run(work)

    async def hash_at(self, sequence: int) -> str:
        """Return the hash of the row at a place; empty if there is none."""
        return await self._database.run(lambda cursor: chain.hash_at(cursor, sequence))

    async def verify(self, anchors: Sequence[Anchor] | None) -> Report:
        """Go along the whole chain."""
        return await self._database.run(lambda cursor: chain.verify(cursor, self._key, anchors, now()))
