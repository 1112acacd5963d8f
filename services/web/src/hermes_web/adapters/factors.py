"""Second factors in PostgreSQL. Every function is one step of the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from hermes_common.events import UserChanged
from hermes_common.runtime.clock import now
from hermes_common.runtime.sealing import Sealer
from hermes_web.adapters.hashing import digest
from hermes_web.adapters.outbox import put
from hermes_web.adapters.schema import recovery_codes, second_factors, users
from hermes_web.adapters.sessions import end_all
from hermes_web.core.onetime import accepted_step, fold_recovery, is_recovery
from hermes_web.errors import NotFoundError, StateConflictError


def place_of(user_id: int) -> str:
    """Return what the sealed secret of an account is bound to."""
    return f"second factor\x1f{user_id}"


def number_of(connection: Connection, name: str) -> int:
    """Return the number of an account; raise :class:`NotFoundError`."""
    found: int | None = connection.execute(select(users.c.id).where(users.c.name == name)).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"there is no account {name!r}")
    return found


def in_force(connection: Connection, user_id: int) -> bool:
    """Return whether the account has a second factor that was confirmed."""
    return _locked(connection, user_id, confirmed=True) is not None


def propose(connection: Connection, sealer: Sealer, name: str, secret: str) -> None:
    """Keep a secret that is not confirmed yet; raise :class:`StateConflictError` if there is one in force."""
    user_id = number_of(connection, name)
    if in_force(connection, user_id):
        raise StateConflictError("There is a second factor already", "Turn it off first.")
    connection.execute(delete(second_factors).where(second_factors.c.user_id == user_id))
    values = {"user_id": user_id, "secret": sealer.seal(secret, place_of(user_id)), "created_at": now()}
    connection.execute(insert(second_factors).values(**values))


def proposed(connection: Connection, sealer: Sealer, name: str) -> str | None:
    """Return the secret that waits to be confirmed, or None."""
    user_id = number_of(connection, name)
    row = _locked(connection, user_id, confirmed=False)
    return None if row is None else sealer.open(row.secret, place_of(user_id))


def confirm(connection: Connection, sealer: Sealer, name: str, typed: str, codes: Sequence[str]) -> bool:
    """Put the factor into force if a code of it fits; keeps the recovery codes, and ends every session."""
    user_id, at = number_of(connection, name), now()
    row = _locked(connection, user_id, confirmed=False)
    step = None if row is None else accepted_step(sealer.open(row.secret, place_of(user_id)), typed, at, row.last_step)
    if step is None:
        return False
    mine = second_factors.c.user_id == user_id
    connection.execute(update(second_factors).where(mine).values(confirmed_at=at, last_step=step))
    replace_codes(connection, user_id, codes)
    end_all(connection, user_id)
    put(connection, UserChanged(user=name, actor=name, detail="second factor set up; all sessions ended"))
    return True


def use(connection: Connection, sealer: Sealer, user_id: int, typed: str, at: datetime) -> str | None:
    """Use a code up: return what kind it was, or None if it does not fit or was used before."""
    row = _locked(connection, user_id, confirmed=True)
    if row is None:
        return None
    if is_recovery(typed):
        code = (recovery_codes.c.code_hash == _hash(user_id, typed)) & recovery_codes.c.used_at.is_(None)
        done = connection.execute(update(recovery_codes).where(code).values(used_at=at)).rowcount
        return f"a recovery code; {codes_left(connection, user_id)} are left" if done else None
    step = accepted_step(sealer.open(row.secret, place_of(user_id)), typed, at, row.last_step)
    if step is None:
        return None
    connection.execute(update(second_factors).where(second_factors.c.user_id == user_id).values(last_step=step))
    return "a one-time code"


def replace_codes(connection: Connection, user_id: int, codes: Sequence[str]) -> None:
    """Put these recovery codes in the place of all that there are."""
    connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    connection.execute(
        insert(recovery_codes), [{"code_hash": _hash(user_id, code), "user_id": user_id} for code in codes]
    )


def codes_left(connection: Connection, user_id: int) -> int:
    """Return how many recovery codes were not used."""
    unused = (recovery_codes.c.user_id == user_id) & recovery_codes.c.used_at.is_(None)
    return connection.execute(select(func.count()).select_from(recovery_codes).where(unused)).scalar_one()


def remove(connection: Connection, name: str, actor: str) -> None:
    """Take the second factor of an account away and end its sessions; raise :class:`StateConflictError` without one."""
    user_id = number_of(connection, name)
    if not in_force(connection, user_id):
        raise StateConflictError(f"{name} has no second factor")
    connection.execute(delete(second_factors).where(second_factors.c.user_id == user_id))
    connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    end_all(connection, user_id)
    put(connection, UserChanged(user=name, actor=actor, detail="second factor removed; all sessions ended"))


def _locked(connection: Connection, user_id: int, *, confirmed: bool) -> Row[Any] | None:
    """Return the factor under a lock: of two who use the same code at once the second sees that it was used."""
    at = second_factors.c.confirmed_at
    return connection.execute(
        select(second_factors.c.secret, second_factors.c.last_step)
        .where(second_factors.c.user_id == user_id, at.isnot(None) if confirmed else at.is_(None))
        .with_for_update()
    ).one_or_none()


def _hash(user_id: int, code: str) -> str:
    return digest(f"recovery {user_id} {fold_recovery(code)}")
