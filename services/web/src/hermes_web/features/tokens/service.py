"""API tokens: made, shown once, stored as a hash, revoked."""

from datetime import timedelta

from hermes_common.runtime.clock import now
from hermes_web.adapters import accounts
from hermes_web.adapters.accounts import Token
from hermes_web.adapters.hashing import new_secret
from hermes_web.core.roles import Principal, TokenRole
from hermes_web.errors import FieldProblem, InvalidError
from hermes_web.features.users.service import known_role
from hermes_web.web import Web

MAX_DAYS = 3650


async def create(web: Web, name: str, role: str, days: int | None, maker: Principal) -> tuple[str, Token]:
    """Return the secret of a new token, which is shown this once, and the token."""
    problems = []
    if not 1 <= len(name) <= 100:
        problems.append(FieldProblem("token_name", "give it a name of 1 to 100 characters, such as what uses it"))
    if days is not None and not 1 <= days <= MAX_DAYS:
        problems.append(FieldProblem("days", f"between 1 and {MAX_DAYS}, or empty for no end"))
    if problems:
        raise InvalidError(problems=problems)
    secret = f"hermes_{new_secret()}"
    expires = None if days is None else now() + timedelta(days=days)
    token = await web.database.run(
        accounts.create_token, name, known_token_role(role), secret, maker.account, expires, maker.name
    )
    web.outbox.nudge()
    await web.access.push()
    return secret, token


async def revoke(web: Web, token_id: str, actor: str) -> None:
    """End a token."""
    await web.database.run(accounts.revoke_token, token_id, actor)
    web.outbox.nudge()
    await web.access.push()


def known_token_role(role: str) -> TokenRole:
    """Return a role that a token may have; raise :class:`InvalidError` for another text."""
    return "sender" if role == "sender" else known_role(role)
