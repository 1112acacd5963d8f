"""What was decided once for the whole installation. Every function is one step of the caller's transaction."""

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from hermes_common.runtime.clock import now
from hermes_web.adapters.schema import choices

FIRST_STEPS = "first steps skipped"
TARGET_TESTED = "target tested"


def chosen(connection: Connection, name: str) -> str | None:
    """Return what was decided, or None."""
    return connection.execute(select(choices.c.value).where(choices.c.name == name)).scalar_one_or_none()


def choose(connection: Connection, name: str, value: str, actor: str) -> None:
    """Keep a decision; the last one counts."""
    values = {"value": value, "actor": actor, "at": now()}
    statement = insert(choices).values(name=name, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[choices.c.name], set_=values))


def unchoose(connection: Connection, name: str) -> None:
    """Take a decision back."""
    connection.execute(delete(choices).where(choices.c.name == name))
