"""Searches that people have kept. Every function is one step of the caller's transaction."""

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from hermes_common.runtime.clock import now
from hermes_web.adapters.schema import saved_views, users
from hermes_web.errors import InvalidError, NotFoundError

MOST = 30
LONGEST_NAME = 60


def list_views(connection: Connection, account: str) -> list[tuple[str, str]]:
    """Return search and name of the views of an account, by name."""
    mine = select(saved_views.c.search, saved_views.c.name).join(users, users.c.id == saved_views.c.user_id)
    rows = connection.execute(mine.where(users.c.name == account).order_by(saved_views.c.name))
    return [(row.search, row.name) for row in rows]


def save_view(connection: Connection, account: str, name: str, search: str) -> None:
    """Keep a search under a name, in the place of one of that name; raise :class:`InvalidError` if there are many."""
    user_id = connection.execute(select(users.c.id).where(users.c.name == account).with_for_update()).scalar_one()
    mine = saved_views.c.user_id == user_id
    others = select(func.count()).select_from(saved_views).where(mine, saved_views.c.name != name)
    if connection.execute(others).scalar_one() >= MOST:
        raise InvalidError(f"there are {MOST} views already: remove one first")
    statement = insert(saved_views).values(user_id=user_id, name=name, search=search, created_at=now())
    key = [saved_views.c.user_id, saved_views.c.name]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_={"search": search}))


def remove_view(connection: Connection, account: str, name: str) -> None:
    """Remove a view; raise :class:`NotFoundError`."""
    user_id = select(users.c.id).where(users.c.name == account).scalar_subquery()
    found = (saved_views.c.user_id == user_id) & (saved_views.c.name == name)
    if not connection.execute(delete(saved_views).where(found)).rowcount:
        raise NotFoundError("there is no such view")
