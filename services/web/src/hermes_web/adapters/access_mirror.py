"""The API tokens, mirrored as hashes into the bucket, so that the receiver knows them without a database (ADR-0013)."""

import asyncio
import logging
from typing import Any

from sqlalchemy import Connection, select

from hermes_common import subjects
from hermes_common.access import KEY, AccessList, AccessToken
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError
from hermes_web.adapters.database import Database
from hermes_web.adapters.schema import tokens, users
from hermes_web.errors import UnavailableError

log = logging.getLogger(__name__)

_PAUSE = 5.0


class AccessMirror:
    """Writes the list whenever it differs from the one in the bucket."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def run(self) -> None:
        """Keep the list in the bucket like the one in the database, until cancelled."""
        await self._bus.ready()
        while True:
            await self.push()
            await asyncio.sleep(_PAUSE)

    async def push(self) -> None:
        """Write the list now if it has changed; one of the two servers being away is made good within seconds of its
        return.
        """
        try:
            wanted = await self._database.run(valid_tokens)
            found = await self._bus.load(subjects.STATE, KEY, AccessList)
            if found is None or found[0] != wanted:
                body = wanted.model_dump_json().encode()
                await self._bus.send(f"$KV.{subjects.STATE}.{KEY}", body)
        except (BusUnavailableError, UnavailableError) as error:
            log.warning("the receiver does not know of changed API tokens yet: %s", error)


def valid_tokens(connection: Connection) -> AccessList:
    """Return every token that is valid now, with the role that its owner leaves it."""
    at = now()
    rows = connection.execute(
        select(tokens.c.name, tokens.c.role, tokens.c.token_hash, tokens.c.expires_at, users.c.role.label("owner_role"))
        .select_from(tokens.outerjoin(users, users.c.id == tokens.c.owner_id))
        .where(tokens.c.revoked_at.is_(None))
        .where(tokens.c.expires_at.is_(None) | (tokens.c.expires_at > at))
        .where(tokens.c.owner_id.is_(None) | users.c.enabled)
        .order_by(tokens.c.id)
    )
    return AccessList(tokens=tuple(_token(row._mapping) for row in rows))


def _token(row: Any) -> AccessToken:
    role = "viewer" if row["owner_role"] == "viewer" else row["role"]
    return AccessToken(name=row["name"], role=role, digest=row["token_hash"], expires_at=row["expires_at"])
