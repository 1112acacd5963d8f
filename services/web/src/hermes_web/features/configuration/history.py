"""Old revisions: from the history in PostgreSQL, and from the bucket where that is away."""

import contextlib
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, select

from hermes_common.config import Kind, Revision
from hermes_common.ledger import config_changes
from hermes_common.secrets import shown
from hermes_web.errors import NotFoundError, UnavailableError
from hermes_web.web import Web


class RevisionItem(BaseModel):
    """A revision without its document."""

    model_config = ConfigDict(frozen=True)

    revision: int
    author: str
    comment: str
    time: datetime


def _recorded(connection: Connection, kind: str) -> list[RevisionItem]:
    table = config_changes
    rows = connection.execute(
        select(table.c.revision, table.c.author, table.c.comment, table.c.time)
        .where(table.c.kind == kind)
        .order_by(table.c.revision.desc())
        .limit(1000)
    )
    return [RevisionItem.model_validate(dict(row._mapping)) for row in rows]


def _recorded_one(connection: Connection, kind: str, number: int) -> Revision | None:
    table = config_changes
    row = connection.execute(select(table).where(table.c.kind == kind, table.c.revision == number)).one_or_none()
    if row is None:
        return None
    found = row._mapping
    return Revision(
        kind=Kind(kind),
        revision=number,
        author=found["author"],
        comment=found["comment"],
        time=found["time"],
        document=found["after"],
    )


async def list_revisions(web: Web, kind: Kind) -> list[RevisionItem]:
    """Return the revisions of a document, newest first."""
    found = {item.revision: _item(item) for item in await web.config.history(kind)}
    with contextlib.suppress(UnavailableError):  # the bucket keeps the last 64 revisions
        found.update({item.revision: item for item in await web.database.run(_recorded, kind.value)})
    return [found[number] for number in sorted(found, reverse=True)]


async def find_revision(web: Web, kind: Kind, number: int) -> Revision:
    """Return one revision with its document as it is stored; raise :class:`NotFoundError`."""
    for revision in await web.config.history(kind):
        if revision.revision == number:
            return revision
    found = await web.database.run(_recorded_one, kind.value, number) if number < 2**31 else None
    if found is None:
        raise NotFoundError(f"there is no revision {number} of {kind.value}")
    return found


def shown_revision(revision: Revision) -> Revision:
    """Return a revision as it may be shown: without its secrets."""
    return revision.model_copy(update={"document": shown(revision.document)})


def _item(revision: Revision) -> RevisionItem:
    return RevisionItem(
        revision=revision.revision, author=revision.author, comment=revision.comment, time=revision.time
    )


async def restore(web: Web, kind: Kind, number: int, expected: int, author: str) -> tuple[Revision, bool]:
    """Save an old revision as a new one; return the present revision, and whether it is new.

    Nothing is saved if the old revision says what the present one says. Raises what :meth:`Web.save` does.
    """
    old, present = await find_revision(web, kind, number), await web.config.current(kind)
    if old.document == present.document and present.revision == expected:
        return present, False
    return await web.save(kind, old.document, expected, author, f"restored revision {number}"), True
