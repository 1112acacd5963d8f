"""Signing in: the same answer and the same work for everybody who may not."""

from sqlalchemy import Connection, update

from hermes_common.events import UserLoggedIn, UserLoggedOut, UserLoginFailed
from hermes_web.adapters import sessions
from hermes_web.adapters.outbox import put
from hermes_web.adapters.schema import users
from hermes_web.core.passwords import MAXIMUM, fold_name
from hermes_web.core.roles import Principal
from hermes_web.errors import TooManyTriesError, WebError
from hermes_web.web import Web


class RefusedError(WebError):
    """The name or the password does not fit; which of them is not said."""

    status = 401
    code = "refused"
    title = "Name or password is not right"
    action = "Try again. After ten tries in 15 minutes the account has to wait."


async def sign_in(web: Web, name: str, password: str, address: str, agent: str, old: str | None) -> str:
    """Return the id of a new session; raise :class:`RefusedError` or :class:`TooManyTriesError`.

    ``old`` is what the browser's cookie held: if it was a session it ends, and it never becomes one.
    """
    account = fold_name(name)
    candidate = await web.database.run(sessions.admit_try, account, address)
    if candidate.throttled:
        await web.hasher.verify(None, password[:MAXIMUM])
        raise TooManyTriesError
    fits = await web.hasher.verify(candidate.password_hash, password[: MAXIMUM + 1])
    stored = candidate.password_hash
    secret = None
    if fits and stored is not None:
        fresh = await web.hasher.hash(password) if web.hasher.is_outdated(stored) else None
        secret = await web.database.run(_begin, account, stored, fresh, address, agent, old)
    if secret is None:
        await web.database.run(put, UserLoginFailed(user=account, actor=account, address=address))
        web.outbox.nudge()
        raise RefusedError
    web.outbox.nudge()
    return secret


async def sign_out(web: Web, principal: Principal, address: str) -> None:
    """End the session."""
    await web.database.run(_end, principal, address)
    web.outbox.nudge()


def _begin(
    connection: Connection, account: str, stored: str, fresh: str | None, address: str, agent: str, old: str | None
) -> str | None:
    secret = sessions.begin(connection, account, stored, address, agent, old)
    if secret is None:
        return None
    if fresh is not None:
        connection.execute(update(users).where(users.c.name == account).values(password_hash=fresh))
    put(connection, UserLoggedIn(user=account, actor=account, address=address))
    return secret


def _end(connection: Connection, principal: Principal, address: str) -> None:
    if sessions.end(connection, principal.session):
        put(connection, UserLoggedOut(user=principal.name, actor=principal.name, address=address))
