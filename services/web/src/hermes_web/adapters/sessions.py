"""Sessions, tries to sign in, and the look-up of who asks. Every function is one step of the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, delete, func, insert, select, text, update

from hermes_common.runtime.clock import now
from hermes_web.adapters.hashing import digest, new_secret
from hermes_web.adapters.schema import half_sessions, login_attempts, second_factors, sessions, tokens, users
from hermes_web.core.forgery import csrf_token
from hermes_web.core.roles import Principal, Role

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
HALF = timedelta(minutes=5)
"""How long the right password waits for the second factor."""
WINDOW = timedelta(minutes=15)
TRIES_PER_ACCOUNT = 10
TRIES_PER_ADDRESS = 50
_TOUCH = timedelta(seconds=30)


class Session(BaseModel):
    """A session as it is shown; ``id`` is not what the cookie holds."""

    model_config = ConfigDict(frozen=True)

    id: str
    address: str
    agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a try to sign in is checked against; ``throttled`` tries are not checked at all."""

    throttled: bool
    password_hash: str | None = None


def admit_try(connection: Connection, account: str, address: str) -> Candidate:
    """Count a try for the account and the address, unless there were too many; one at a time for each of them.

    The count is in the database, under a lock that every worker takes: more workers do not mean more tries.
    """
    for key in (f"account {account}", f"address {address}"):
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7))"), {"key": key})
    since = now() - WINDOW
    recent = select(func.count()).select_from(login_attempts).where(login_attempts.c.at > since)
    by_account = connection.execute(recent.where(login_attempts.c.account == account)).scalar_one()
    by_address = connection.execute(recent.where(login_attempts.c.address == address)).scalar_one()
    if by_account >= TRIES_PER_ACCOUNT or by_address >= TRIES_PER_ADDRESS:
        return Candidate(throttled=True)
    connection.execute(delete(login_attempts).where(login_attempts.c.at < since - WINDOW))
    connection.execute(insert(login_attempts).values(account=account, address=address, at=now()))
    stored = select(users.c.password_hash).where(users.c.name == account, users.c.enabled, users.c.issuer.is_(None))
    return Candidate(throttled=False, password_hash=connection.execute(stored).scalar_one_or_none())


def unchanged(connection: Connection, account: str, stored: str) -> int | None:
    """Return an account's number, or None if its password was changed or it was disabled meanwhile; locks it."""
    return connection.execute(
        select(users.c.id)
        .where(users.c.name == account, users.c.enabled, users.c.password_hash == stored)
        .with_for_update()
    ).scalar_one_or_none()


def begin(connection: Connection, user_id: int, address: str, agent: str, old: str | None) -> str:
    """Begin a session with a new id and return it; ends the old one and what is over."""
    if old is not None:
        end(connection, digest(old))
    at = now()
    connection.execute(delete(sessions).where((sessions.c.expires_at < at) | (sessions.c.last_seen_at < at - IDLE)))
    connection.execute(update(users).where(users.c.id == user_id).values(last_sign_in_at=at))
    return _issue(connection, user_id, address, agent)


def forgive(connection: Connection, account: str, address: str, tries: int = 1) -> None:
    """Take back the last tries of an account from an address: they were good."""
    last = (
        select(login_attempts.c.number)
        .where(login_attempts.c.account == account, login_attempts.c.address == address)
        .order_by(login_attempts.c.number.desc())
        .limit(tries)
    )
    connection.execute(delete(login_attempts).where(login_attempts.c.number.in_(last.scalar_subquery())))


def begin_half(connection: Connection, user_id: int) -> str:
    """Remember that the password was right; return the secret under which the second factor is waited for."""
    secret, at = new_secret(), now()
    mine_or_over = (half_sessions.c.user_id == user_id) | (half_sessions.c.expires_at < at)
    connection.execute(delete(half_sessions).where(mine_or_over))
    values = {"id_hash": digest(secret), "user_id": user_id, "expires_at": at + HALF}
    connection.execute(insert(half_sessions).values(**values))
    return secret


def half_of(connection: Connection, secret: str) -> tuple[int, str] | None:
    """Return number and name of the account whose second factor is waited for under a secret."""
    row = connection.execute(
        select(users.c.id, users.c.name)
        .join(half_sessions, half_sessions.c.user_id == users.c.id)
        .where(half_sessions.c.id_hash == digest(secret), half_sessions.c.expires_at > now(), users.c.enabled)
    ).one_or_none()
    return None if row is None else (row.id, row.name)


def end_half(connection: Connection, secret: str) -> bool:
    """Return whether the second factor was still waited for under a secret; now it is not."""
    return bool(connection.execute(delete(half_sessions).where(half_sessions.c.id_hash == digest(secret))).rowcount)


def begin_again(connection: Connection, account: str, address: str, agent: str) -> str:
    """Begin a session for an account whose sessions were just ended by its own change of password."""
    user_id = connection.execute(select(users.c.id).where(users.c.name == account, users.c.enabled)).scalar_one()
    return _issue(connection, user_id, address, agent)


def _issue(connection: Connection, user_id: int, address: str, agent: str) -> str:
    secret, at = new_secret(), now()
    values = {"user_id": user_id, "address": address, "agent": agent[:200], "created_at": at, "last_seen_at": at}
    connection.execute(insert(sessions).values(id_hash=digest(secret), expires_at=at + ABSOLUTE, **values))
    return secret


def by_session(connection: Connection, secret: str) -> Principal | None:
    """Return who has this session, if it is ours and neither idle for too long nor too old."""
    hashed, at = digest(secret), now()
    found = connection.execute(
        select(
            *(users.c.name, users.c.role, users.c.issuer, sessions.c.last_seen_at, sessions.c.unmasked_at),
            second_factors.c.confirmed_at.isnot(None).label("has_factor"),
        )
        .select_from(sessions.join(users, users.c.id == sessions.c.user_id).outerjoin(second_factors))
        .where(sessions.c.id_hash == hashed, users.c.enabled)
        .where(sessions.c.expires_at > at, sessions.c.last_seen_at > at - IDLE)
    ).one_or_none()
    if found is None:
        return None
    if found.last_seen_at < at - _TOUCH:
        connection.execute(update(sessions).where(sessions.c.id_hash == hashed).values(last_seen_at=at))
    return Principal(
        found.name,
        Role(found.role),
        "session",
        hashed,
        csrf_token(secret),
        found.name,
        is_external=found.issuer is not None,
        has_factor=bool(found.has_factor),
        unmasked=found.unmasked_at is not None,
    )


def by_token(connection: Connection, secret: str) -> Principal | None:
    """Return who has this API token: its role, but never more than its owner's."""
    at = now()
    joined = tokens.outerjoin(users, users.c.id == tokens.c.owner_id)
    found = connection.execute(
        select(
            *(tokens.c.id, tokens.c.name, tokens.c.role, tokens.c.last_used_at),
            *(users.c.role.label("owner_role"), users.c.name.label("owner")),
        )
        .select_from(joined)
        .where(tokens.c.token_hash == digest(secret), tokens.c.revoked_at.is_(None))
        .where(tokens.c.expires_at.is_(None) | (tokens.c.expires_at > at))
        .where(tokens.c.owner_id.is_(None) | users.c.enabled)
    ).one_or_none()
    if found is None:
        return None
    if found.last_used_at is None or found.last_used_at < at - _TOUCH:
        connection.execute(update(tokens).where(tokens.c.id == found.id).values(last_used_at=at))
    role = Role.VIEWER if found.owner_role == "viewer" else Role(found.role)
    return Principal(f"token {found.name}", role, "token", account=found.owner)


def list_sessions(connection: Connection, name: str) -> list[Session]:
    """Return the live sessions of an account, the last used first."""
    at = now()
    rows = connection.execute(
        select(sessions)
        .join(users, users.c.id == sessions.c.user_id)
        .where(users.c.name == name, sessions.c.expires_at > at, sessions.c.last_seen_at > at - IDLE)
        .order_by(sessions.c.last_seen_at.desc())
    )
    return [Session.model_validate({**row._mapping, "id": row.id_hash[:12]}) for row in rows]


def unmask(connection: Connection, id_hash: str, shown: bool) -> bool:
    """Have names of patients shown in one session, or masked again; return whether that changed anything."""
    other = sessions.c.unmasked_at.is_(None) if shown else sessions.c.unmasked_at.isnot(None)
    mine = (sessions.c.id_hash == id_hash) & other
    changed = connection.execute(update(sessions).where(mine).values(unmasked_at=now() if shown else None))
    return bool(changed.rowcount)


def end(connection: Connection, id_hash: str) -> bool:
    """End one session; return whether there was one."""
    return bool(connection.execute(delete(sessions).where(sessions.c.id_hash == id_hash)).rowcount)


def end_by_mark(connection: Connection, name: str, mark: str) -> bool:
    """End the session of an account that is shown under ``mark``; return whether there was one."""
    mine = select(users.c.id).where(users.c.name == name).scalar_subquery()
    found = (sessions.c.user_id == mine) & (func.left(sessions.c.id_hash, 12) == mark)
    return bool(connection.execute(delete(sessions).where(found)).rowcount)


def end_all(connection: Connection, user_id: int) -> int:
    """End every session of an account, also those that wait for a second factor; return how many there were."""
    connection.execute(delete(half_sessions).where(half_sessions.c.user_id == user_id))
    return connection.execute(delete(sessions).where(sessions.c.user_id == user_id)).rowcount
