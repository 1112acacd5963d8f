"""Signing in: the same answer and the same work for everybody who may not."""

from dataclasses import dataclass

from sqlalchemy import Connection, update

from hermes_common.events import UserLoggedIn, UserLoggedOut, UserLoginFailed
from hermes_common.runtime.clock import now
from hermes_common.runtime.sealing import SealingError
from hermes_web.adapters import external_accounts, factors, sessions
from hermes_web.adapters.outbox import put
from hermes_web.adapters.schema import users
from hermes_web.core.identity import (
    Expected,
    Handshake,
    Refused,
    RoleMapping,
    has_claim,
    listed,
    person_of,
    token_refusal,
)
from hermes_web.core.passwords import MAXIMUM, fold_name
from hermes_web.core.roles import Principal
from hermes_web.errors import NotAdmittedError, TooManyTriesError, UnavailableError, WebError
from hermes_web.web import Web

LONGEST_CODE = 100


class RefusedError(WebError):
    """The name or the password does not fit; which of them is not said."""

    status = 401
    code = "refused"
    title = "Name or password is not right"
    action = "Try again. After ten tries in 15 minutes the account has to wait."


class WrongCodeError(WebError):
    """The code of the second factor does not fit, or was used."""

    status = 401
    code = "wrong-code"
    title = "The code is not right, or was used already"
    action = "Wait for the next one, or use a recovery code. After ten tries in 15 minutes the account has to wait."


class StartAgainError(WebError):
    """The password was given too long ago, or never."""

    status = 401
    code = "start-again"
    title = "Sign in with your password again"
    action = "The second factor is waited for five minutes."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The id of a new session."""

    secret: str


@dataclass(frozen=True, slots=True)
class FactorNeeded:
    """The password was right; ``secret`` is what the second factor is given under."""

    secret: str


async def sign_in(
    web: Web, name: str, password: str, address: str, agent: str, old: str | None
) -> SignedIn | FactorNeeded:
    """Check name and password; raise :class:`RefusedError` or :class:`TooManyTriesError`.

    ``old`` is what the browser's cookie held: if it was a session it ends, and it never becomes one.
    """
    account = fold_name(name)
    candidate = await web.database.look(sessions.admit_try, account, address)
    if candidate.throttled:
        await web.hasher.verify(None, password[:MAXIMUM])
        raise TooManyTriesError
    fits = await web.hasher.verify(candidate.password_hash, password[: MAXIMUM + 1])
    stored = candidate.password_hash
    found = None
    if fits and stored is not None:
        fresh = await web.hasher.hash(password) if web.hasher.is_outdated(stored) else None
        found = await web.database.run(_begin, account, stored, fresh, address, agent, old)
    if found is None:
        await web.database.run(put, UserLoginFailed(user=account, actor=account, address=address))
        web.outbox.nudge()
        raise RefusedError
    web.outbox.nudge()
    return found


async def give_code(web: Web, half: str | None, typed: str, address: str, agent: str, old: str | None) -> str:
    """Return the id of a new session for the right code; tries count like those of the password."""
    waiting = None if half is None else await web.database.run(sessions.half_of, half)
    if half is None or waiting is None:
        raise StartAgainError
    user_id, account = waiting
    if (await web.database.run(sessions.admit_try, account, address)).throttled:
        raise TooManyTriesError
    try:
        secret = await web.database.run(
            _complete, web, half, user_id, account, typed[:LONGEST_CODE], address, agent, old
        )
    except SealingError as error:
        raise UnavailableError(
            f"the second factor cannot be checked: {error}", "Ask an administrator to reset it."
        ) from error
    if secret is None:
        failed = UserLoginFailed(user=account, actor=account, address=address, detail="second factor")
        await web.database.run(put, failed)
        web.outbox.nudge()
        raise WrongCodeError
    web.outbox.nudge()
    return secret


async def admit_external(web: Web, code: str, bound: Handshake, address: str, agent: str, old: str | None) -> str:
    """Return the id of a new session for a code of the identity provider; every refusal is in the audit."""
    provider = web.provider
    if provider is None:
        raise NotAdmittedError("no identity provider is configured")
    account = f"sso:{bound.state[:16]}"  # no account has a colon in its name; those of one address count together
    if (await web.database.run(sessions.admit_try, account, address)).throttled:
        raise TooManyTriesError
    try:
        claims, access = await provider.redeem(code, bound)
        refusal = token_refusal(claims, Expected(provider.issuer, provider.client_id, bound.nonce), now())
        if refusal is not None:
            raise NotAdmittedError(refusal)
        settings = web.settings
        if not has_claim(claims, settings.oidc_role_claim):
            claims = {**await provider.more_claims(access, str(claims["sub"])), **claims}
        admins, viewers = listed(settings.oidc_administrators), listed(settings.oidc_viewers)
        mapping = RoleMapping(settings.oidc_role_claim, admins, viewers)
        person = person_of(claims, provider.issuer, settings.oidc_name_claim, mapping)
        if isinstance(person, Refused):
            subject = str(claims["sub"])
            await web.database.run(external_accounts.shut_out, provider.issuer, subject, person.reason)
            raise NotAdmittedError(person.reason, "Ask an administrator for a group that gives a role in Hermes.")
        secret = await web.database.run(external_accounts.admit, person, address, agent, old)
    except NotAdmittedError as error:
        await _say_refused(web, address, error)
        raise
    except UnavailableError:  # nobody's mistake
        await web.database.run(sessions.forgive, account, address)
        raise
    await web.database.run(sessions.forgive, account, address)
    web.outbox.nudge()
    return secret


async def refuse_external(web: Web, address: str, error: NotAdmittedError) -> None:
    """Put into the audit that what a browser brought back from the identity provider was not even asked about.

    Nobody needs an account for that, so it counts as a try of the address: raises :class:`TooManyTriesError`, and
    writes nothing more, for one that does it again and again.
    """
    if (await web.database.run(sessions.admit_try, f"sso:back:{address}", address)).throttled:
        raise TooManyTriesError
    await _say_refused(web, address, error)


async def _say_refused(web: Web, address: str, error: NotAdmittedError) -> None:
    failed = UserLoginFailed(user="single sign-on", actor="single sign-on", address=address, detail=error.detail)
    await web.database.run(put, failed)
    web.outbox.nudge()


async def sign_out(web: Web, principal: Principal, address: str) -> None:
    """End the session."""
    await web.database.run(_end, principal, address)
    web.outbox.nudge()


def _begin(
    connection: Connection, account: str, stored: str, fresh: str | None, address: str, agent: str, old: str | None
) -> SignedIn | FactorNeeded | None:
    user_id = sessions.unchanged(connection, account, stored)
    if user_id is None:
        return None
    if fresh is not None:
        connection.execute(update(users).where(users.c.id == user_id).values(password_hash=fresh))
    if factors.in_force(connection, user_id):
        return FactorNeeded(sessions.begin_half(connection, user_id))
    sessions.forgive(connection, account, address)
    secret = sessions.begin(connection, user_id, address, agent, old)
    put(connection, UserLoggedIn(user=account, actor=account, address=address))
    return SignedIn(secret)


def _complete(
    connection: Connection,
    web: Web,
    half: str,
    user_id: int,
    account: str,
    typed: str,
    address: str,
    agent: str,
    old: str | None,
) -> str | None:
    used = factors.use(connection, web.sealer, user_id, typed, now())
    if used is None or not sessions.end_half(connection, half):
        return None
    sessions.forgive(connection, account, address, tries=2)  # the password's and this one
    secret = sessions.begin(connection, user_id, address, agent, old)
    put(connection, UserLoggedIn(user=account, actor=account, address=address, detail=f"with {used}"))
    return secret


def _end(connection: Connection, principal: Principal, address: str) -> None:
    if sessions.end(connection, principal.session):
        put(connection, UserLoggedOut(user=principal.name, actor=principal.name, address=address))
