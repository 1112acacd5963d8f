"""Accounts: what the API and the pages do alike."""

from sqlalchemy import Connection

from hermes_common.events import UserLoginFailed
from hermes_web.adapters import accounts, factors, sessions
from hermes_web.adapters.accounts import User
from hermes_web.adapters.outbox import put
from hermes_web.adapters.sessions import begin_again
from hermes_web.core.passwords import MAXIMUM, name_problem, password_problem
from hermes_web.core.roles import AccountRole
from hermes_web.errors import FieldProblem, InvalidError, StateConflictError, TooManyTriesError
from hermes_web.web import Web


async def create(web: Web, name: str, password: str, role: str, actor: str) -> User:
    """Make an account; raise :class:`InvalidError` that names every field that is wrong."""
    found = [
        FieldProblem(field, message)
        for field, message in (
            ("name", name_problem(name)),
            ("password", password_problem(password, name)),
            ("role", None if role in ("viewer", "admin") else "choose viewer or admin"),
        )
        if message is not None
    ]
    if found:
        raise InvalidError(problems=found)
    hashed = await web.hasher.hash(password)
    user = await web.database.run(accounts.create_user, name, known_role(role), hashed, actor)
    web.outbox.nudge()
    return user


async def change(
    web: Web,
    name: str,
    actor: str,
    role: str | None = None,
    password: str | None = None,
    enabled: bool | None = None,
    *,
    own: str | None,
) -> User:
    """Change what is given of an account.

    ``own`` is the account of whoever asks: one's own password is changed with the present one
    (:func:`change_own_password`).
    """
    if password is not None and name == own:
        raise StateConflictError("one's own password is changed under Your account, with the present one")
    hashed = None
    if password is not None:
        if (message := password_problem(password, name)) is not None:
            raise InvalidError(problems=[FieldProblem("password", message)])
        hashed = await web.hasher.hash(password)
    user = await web.database.run(_change, name, actor, None if role is None else known_role(role), hashed, enabled)
    web.outbox.nudge()
    return user


async def change_own_password(web: Web, name: str, old: str, new: str, address: str, agent: str) -> str:
    """Change one's own password; every session ends, and the id of a new one is returned."""
    await check_own_password(web, name, old, address)
    if (message := password_problem(new, name)) is not None:
        raise InvalidError(problems=[FieldProblem("password", message)])
    hashed = await web.hasher.hash(new)
    secret = await web.database.run(_change_own, name, hashed, address, agent)
    web.outbox.nudge()
    return secret


async def check_own_password(web: Web, name: str, typed: str, address: str) -> None:
    """Ask for the present password before something that protects the account changes; guesses are throttled."""
    candidate = await web.database.run(sessions.admit_try, name, address)
    if candidate.throttled:
        raise TooManyTriesError
    if not await web.hasher.verify(candidate.password_hash, typed[: MAXIMUM + 1]):
        await web.database.run(put, UserLoginFailed(user=name, actor=name, address=address, detail="own password"))
        web.outbox.nudge()
        raise InvalidError(problems=[FieldProblem("old", "the present password is not right")])
    await web.database.run(sessions.forgive, name, address)


async def reset_factor(web: Web, name: str, actor: str) -> None:
    """Take the second factor of somebody else's account away, whose telephone is lost."""
    if name == actor:
        raise StateConflictError(
            "your own second factor is turned off under Your account", "It asks for your password."
        )
    await web.database.run(factors.remove, name, actor)
    web.outbox.nudge()


async def end_session(web: Web, name: str, mark: str, actor: str) -> None:
    """End one session of an account."""
    await web.database.run(accounts.end_session, name, mark, actor)
    web.outbox.nudge()


async def end_sessions(web: Web, name: str, actor: str) -> int:
    """End every session of an account."""
    count = await web.database.run(accounts.end_sessions, name, actor)
    web.outbox.nudge()
    return count


def known_role(role: str) -> AccountRole:
    """Return a role; raise :class:`InvalidError` for another text."""
    if role == "admin":
        return "admin"
    if role == "viewer":
        return "viewer"
    raise InvalidError(problems=[FieldProblem("role", "choose viewer or admin")])


def _change(
    connection: Connection, name: str, actor: str, role: AccountRole | None, hashed: str | None, enabled: bool | None
) -> User:
    if role is not None:
        accounts.set_role(connection, name, role, actor)
    if hashed is not None:
        accounts.set_password(connection, name, hashed, actor)
    if enabled is not None:
        accounts.set_enabled(connection, name, enabled, actor)
    return accounts.get_user(connection, name)


def _change_own(connection: Connection, name: str, hashed: str, address: str, agent: str) -> str:
    accounts.set_password(connection, name, hashed, name)
    return begin_again(connection, name, address, agent)
