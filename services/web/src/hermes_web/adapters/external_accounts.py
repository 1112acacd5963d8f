"""Accounts of an identity provider: made at the first sign-in, known by issuer and subject, never by their name."""

from sqlalchemy import Connection, insert, select

from hermes_common.events import UserCreated, UserDisabled, UserLoggedIn
from hermes_common.runtime.clock import now
from hermes_web.adapters import accounts, sessions
from hermes_web.adapters.outbox import put
from hermes_web.adapters.schema import users
from hermes_web.core.identity import Person
from hermes_web.errors import NotAdmittedError, StateConflictError

ACTOR = "identity provider"
_NO_PASSWORD = "!"  # noqa: S105  # no hash of anything
_NAMES = 50


def admit(connection: Connection, person: Person, address: str, agent: str, old: str | None) -> str:
    """Begin a session for somebody whom the provider vouches for; make the account if there is none.

    The role is the provider's at every sign-in. Raises :class:`NotAdmittedError` for an account that is disabled.
    """
    accounts.hold(connection)
    known = (users.c.issuer == person.issuer) & (users.c.subject == person.subject)
    row = connection.execute(select(users.c.id, users.c.name, users.c.enabled).where(known)).one_or_none()
    if row is None:
        user_id, name = _make(connection, person)
    elif not row.enabled:
        raise NotAdmittedError(f"the account {row.name} is disabled here")
    else:
        user_id, name = row.id, row.name
        try:
            accounts.set_role(connection, name, person.role, ACTOR)
        except StateConflictError as error:
            raise NotAdmittedError(f"{error.detail}, and the provider says that it is none", error.advice) from error
    secret = sessions.begin(connection, user_id, address, agent, old)
    put(connection, UserLoggedIn(user=name, actor=name, address=address, detail="single sign-on"))
    return secret


def shut_out(connection: Connection, issuer: str, subject: str, reason: str) -> None:
    """End the sessions and the tokens of somebody whom the provider gives no role any more."""
    known = (users.c.issuer == issuer) & (users.c.subject == subject)
    row = connection.execute(select(users.c.id, users.c.name).where(known)).one_or_none()
    if row is None:
        return
    sessions.end_all(connection, row.id)
    accounts.end_tokens(connection, row.id)
    put(connection, UserDisabled(user=row.name, actor=ACTOR, detail=f"sessions and tokens ended: {reason}"[:200]))


def _make(connection: Connection, person: Person) -> tuple[int, str]:
    name, at = _free_name(connection, person.name), now()
    values = {"name": name, "role": person.role, "password_hash": _NO_PASSWORD, "created_at": at}
    values |= {"password_changed_at": at, "issuer": person.issuer, "subject": person.subject}
    user_id = connection.execute(insert(users).values(**values).returning(users.c.id)).scalar_one()
    detail = f"account of the identity provider with the role {person.role}"
    put(connection, UserCreated(user=name, actor=ACTOR, detail=detail))
    return user_id, name


def _free_name(connection: Connection, wanted: str) -> str:
    """Return the name, or one with a number where somebody else has it: an account is never taken over by its name."""
    for number in range(1, _NAMES):
        name = wanted if number == 1 else f"{wanted[:58]}-{number}"
        if connection.execute(select(users.c.id).where(users.c.name == name)).first() is None:
            return name
    raise NotAdmittedError(f"there are {_NAMES} accounts of the name {wanted} already")
