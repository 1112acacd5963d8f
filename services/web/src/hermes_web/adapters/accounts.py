"""Users and tokens in PostgreSQL. Every function is one step of the caller's transaction."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from hermes_common.events import UserChanged, UserCreated, UserDisabled
from hermes_common.runtime.clock import new_id, now
from hermes_web.adapters.hashing import digest
from hermes_web.adapters.outbox import put
from hermes_web.adapters.schema import second_factors, sessions, tokens, users
from hermes_web.adapters.sessions import end_all, end_by_mark
from hermes_web.core.roles import AccountRole, TokenRole
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError, StateConflictError

_ADMINS = 0x6865726D_61646D6E  # "herm" "admn": one change at a time of who is an administrator


class User(BaseModel):
    """An account as it is shown: without the password's hash."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    role: AccountRole
    enabled: bool
    created_at: datetime
    password_changed_at: datetime
    last_sign_in_at: datetime | None = None
    sessions: int = 0
    external: bool = False
    """Whether an identity provider answers for it: it has no password here, and its role comes from there."""
    second_factor: bool = False


class Token(BaseModel):
    """An API token as it is shown: without its secret."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    role: TokenRole
    owner: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


_FACTOR = select(second_factors.c.user_id).where(
    second_factors.c.user_id == users.c.id, second_factors.c.confirmed_at.isnot(None)
)
_SHOWN = [
    *(column for column in users.c if column.name not in {"password_hash", "issuer", "subject"}),
    users.c.issuer.isnot(None).label("external"),
    _FACTOR.exists().label("second_factor"),
]


def hold(connection: Connection) -> None:
    """Take the lock under which accounts are made and change their role, until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADMINS})


def list_users(connection: Connection) -> list[User]:
    """Return every account, by name."""
    live = select(func.count()).where(sessions.c.user_id == users.c.id, sessions.c.expires_at > now()).scalar_subquery()
    rows = connection.execute(select(*_SHOWN, live.label("sessions")).order_by(users.c.name))
    return [User.model_validate(dict(row._mapping)) for row in rows]


def get_user(connection: Connection, name: str) -> User:
    """Return an account; raise :class:`NotFoundError`."""
    row = connection.execute(select(*_SHOWN).where(users.c.name == name)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no account {name!r}")
    return User.model_validate(dict(row._mapping))


def password_hash(connection: Connection, name: str) -> str | None:
    """Return the stored hash of an account, or None."""
    return connection.execute(select(users.c.password_hash).where(users.c.name == name)).scalar_one_or_none()


def create_user(connection: Connection, name: str, role: AccountRole, hashed: str, actor: str) -> User:
    """Make an account; raise :class:`InvalidError` if the name is taken."""
    at = now()
    values = {"name": name, "role": role, "password_hash": hashed, "created_at": at, "password_changed_at": at}
    try:
        with connection.begin_nested():
            connection.execute(insert(users).values(**values))
    except IntegrityError as error:
        raise InvalidError(problems=[FieldProblem("name", f"there is an account {name!r} already")]) from error
    put(connection, UserCreated(user=name, actor=actor, detail=f"account with the role {role}"))
    return get_user(connection, name)


def set_role(connection: Connection, name: str, role: AccountRole, actor: str) -> User:
    """Change a role and end the account's sessions; the last administrator stays one."""
    user = _locked(connection, name)
    if user.role == role:
        return user
    if role != "admin":
        _keep_an_admin(connection, user)
    _change(connection, user, role=role)
    end_all(connection, user.id)
    put(connection, UserChanged(user=name, actor=actor, detail=f"role {user.role} -> {role}"))
    return get_user(connection, name)


def set_password(connection: Connection, name: str, hashed: str, actor: str) -> User:
    """Change a password and end every session of the account."""
    user = _locked(connection, name)
    if user.external:
        raise StateConflictError(f"{name} is an account of the identity provider", "Its password is changed there.")
    _change(connection, user, password_hash=hashed, password_changed_at=now())
    end_all(connection, user.id)
    put(connection, UserChanged(user=name, actor=actor, detail="password changed; all sessions ended"))
    return get_user(connection, name)


def set_enabled(connection: Connection, name: str, enabled: bool, actor: str) -> User:
    """Disable an account with its sessions and tokens, or enable it again (the tokens stay revoked)."""
    user = _locked(connection, name)
    if user.enabled == enabled:
        return user
    if not enabled:
        _keep_an_admin(connection, user)
        end_all(connection, user.id)
        end_tokens(connection, user.id)
        put(connection, UserDisabled(user=name, actor=actor, detail="account disabled; sessions and tokens ended"))
    else:
        put(connection, UserChanged(user=name, actor=actor, detail="account enabled"))
    _change(connection, user, enabled=enabled)
    return get_user(connection, name)


def end_sessions(connection: Connection, name: str, actor: str) -> int:
    """End every session of an account; return how many there were."""
    user = _locked(connection, name)
    count = end_all(connection, user.id)
    put(connection, UserChanged(user=name, actor=actor, detail=f"{count} sessions ended"))
    return count


def end_session(connection: Connection, name: str, mark: str, actor: str) -> None:
    """End one session of an account; raise :class:`NotFoundError`."""
    if not end_by_mark(connection, name, mark):
        raise NotFoundError("this session has ended already")
    put(connection, UserChanged(user=name, actor=actor, detail="a session ended"))


def list_tokens(connection: Connection) -> list[Token]:
    """Return every token that was not revoked more than a month ago, newest first."""
    columns = [column for column in tokens.c if column.name not in {"token_hash", "owner_id", "brief"}]
    joined = tokens.outerjoin(users, users.c.id == tokens.c.owner_id)
    rows = connection.execute(
        select(*columns, users.c.name.label("owner"))
        .select_from(joined)
        .where(~tokens.c.brief)
        .where(tokens.c.revoked_at.is_(None) | (tokens.c.revoked_at > text("now() - interval '30 days'")))
        .order_by(tokens.c.created_at.desc())
    )
    return [Token.model_validate(dict(row._mapping)) for row in rows]


def create_token(
    connection: Connection,
    name: str,
    role: TokenRole,
    secret: str,
    owner: str | None,
    expires_at: datetime | None,
    actor: str = "hermes",
) -> Token:
    """Store a token under the hash of its secret; ``owner`` may be an account, whose end is also the token's."""
    owner_id = connection.execute(select(users.c.id).where(users.c.name == owner)).scalar_one_or_none()
    values: dict[str, Any] = {"id": new_id(), "name": name, "role": role, "owner_id": owner_id, "created_at": now()}
    connection.execute(insert(tokens).values(**values, token_hash=digest(secret), expires_at=expires_at))
    put(connection, UserCreated(user=f"token {name}", actor=actor, detail=f"API token with the role {role}"))
    return next(token for token in list_tokens(connection) if token.id == values["id"])


def create_brief_token(connection: Connection, name: str, secret: str, expires_at: datetime) -> None:
    """Store a token of an administrator for what a page of theirs asks of another service; removes those that ended."""
    at = now()
    connection.execute(delete(tokens).where(tokens.c.brief, tokens.c.expires_at < at))
    owner_id = select(users.c.id).where(users.c.name == name).scalar_subquery()
    values: dict[str, Any] = {"id": new_id(), "name": name, "role": "admin", "owner_id": owner_id, "created_at": at}
    connection.execute(insert(tokens).values(**values, token_hash=digest(secret), expires_at=expires_at, brief=True))


def end_tokens(connection: Connection, owner_id: int) -> None:
    """End every token of an account."""
    mine = (tokens.c.owner_id == owner_id) & tokens.c.revoked_at.is_(None)
    connection.execute(update(tokens).where(mine).values(revoked_at=now()))


def revoke_token(connection: Connection, token_id: str, actor: str) -> None:
    """End a token; raise :class:`NotFoundError`."""
    ended = (tokens.c.id == token_id) & tokens.c.revoked_at.is_(None) & ~tokens.c.brief
    row = connection.execute(
        update(tokens).where(ended).values(revoked_at=now()).returning(tokens.c.name)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no valid token {token_id!r}")
    put(connection, UserDisabled(user=f"token {row.name}", actor=actor, detail="API token revoked"))


def any_account(connection: Connection) -> bool:
    """Return whether there is any user."""
    return connection.execute(select(users.c.id).limit(1)).first() is not None


def seed(connection: Connection, name: str, hashed: str, token: str | None) -> bool:
    """Make the first administrator, and a token, if there is no user at all; return whether it was done."""
    hold(connection)
    if any_account(connection):
        return False
    create_user(connection, name, "admin", hashed, "hermes")
    if token is not None:
        create_token(connection, "automation", "admin", token, None, None)
    return True


def _locked(connection: Connection, name: str) -> User:
    hold(connection)
    return get_user(connection, name)


def _change(connection: Connection, user: User, **values: Any) -> None:
    connection.execute(update(users).where(users.c.id == user.id).values(**values))


def _keep_an_admin(connection: Connection, user: User) -> None:
    others = (users.c.role == "admin") & users.c.enabled & (users.c.id != user.id)
    if user.role == "admin" and user.enabled and not connection.execute(select(users.c.id).where(others)).first():
        raise StateConflictError(
            f"{user.name} is the last enabled administrator", "Make another account an administrator first."
        )
