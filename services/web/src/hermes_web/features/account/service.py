"""Setting up a second factor, turning it off, and ending one's own sessions."""

import pyotp
import segno
from sqlalchemy import Connection

from hermes_common.events import UserChanged
from hermes_common.runtime.clock import now
from hermes_common.runtime.sealing import Sealer, SealingError
from hermes_web.adapters import factors, sessions
from hermes_web.adapters.hashing import new_recovery_code
from hermes_web.adapters.outbox import put
from hermes_web.core.onetime import RECOVERY_CODES, enrolment_address
from hermes_web.core.roles import Principal
from hermes_web.errors import FieldProblem, InvalidError, StateConflictError, TooManyTriesError, UnavailableError
from hermes_web.features.users.service import check_own_password
from hermes_web.web import Web

_LONGEST_REASON = 500
_WRONG = FieldProblem("code", "the code is not right, or was used already; wait for the next one")


def drawing(secret: str, account: str) -> str:
    """Return the QR code as a data address of an SVG; it is made here and sent nowhere."""
    code = segno.make(enrolment_address(secret, account), error="m", micro=False)
    return str(code.svg_data_uri(scale=5, border=4, dark="#000", light="#fff"))


async def propose(web: Web, principal: Principal, password: str, address: str) -> None:
    """Make a secret that waits to be confirmed; asks for the present password."""
    if principal.is_external:
        raise StateConflictError("the identity provider answers for your account", "Set up a second factor there.")
    await check_own_password(web, principal.name, password, address)
    try:
        await web.database.run(factors.propose, web.sealer, principal.name, pyotp.random_base32())
    except SealingError as error:
        raise UnavailableError("HERMES_SECRET_KEY is not set: no second factor can be kept", str(error)) from error


async def show_names(web: Web, principal: Principal, shown: bool, reason: str, address: str) -> None:
    """Have names of patients shown in the session of who asks, which needs a reason, or masked again; audited."""
    reason = reason.strip()
    if len(reason) > _LONGEST_REASON or (shown and not reason):
        raise InvalidError(problems=[FieldProblem("reason", "say why, in at most 500 characters; it is in the audit")])
    await web.database.run(_show_names, principal, shown, reason, address)
    web.outbox.nudge()


def _show_names(connection: Connection, principal: Principal, shown: bool, reason: str, address: str) -> None:
    if sessions.unmask(connection, principal.session, shown):
        what = f"names of patients shown in this session: {reason}" if shown else "names of patients masked again"
        put(connection, UserChanged(user=principal.name, actor=principal.name, address=address, detail=what))


async def proposed(web: Web, principal: Principal) -> str | None:
    """Return the secret that waits to be confirmed, or None; also if it cannot be read any longer."""
    try:
        return await web.database.run(factors.proposed, web.sealer, principal.name)
    except SealingError:
        return None


async def confirm(web: Web, principal: Principal, typed: str, address: str, agent: str) -> tuple[list[str], str]:
    """Put the factor into force; return the recovery codes, which are shown this once, and the id of a new session."""
    if (await web.database.run(sessions.admit_try, principal.name, address)).throttled:
        raise TooManyTriesError
    codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
    secret = await web.database.run(_confirm, web.sealer, principal.name, typed, codes, address, agent)
    if secret is None:
        raise InvalidError(problems=[_WRONG])
    web.outbox.nudge()
    return codes, secret


async def renew_codes(web: Web, principal: Principal, typed: str, address: str) -> list[str]:
    """Return new recovery codes in the place of the old ones; asks for a code."""
    codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
    await _with_code(web, principal, typed, address)
    await web.database.run(_renew, principal.name, codes)
    web.outbox.nudge()
    return codes


async def turn_off(web: Web, principal: Principal, password: str, typed: str, address: str) -> None:
    """Take one's own second factor away; asks for the password and a code, and ends every session."""
    await check_own_password(web, principal.name, password, address)
    await _with_code(web, principal, typed, address)
    await web.database.run(factors.remove, principal.name, principal.name)
    web.outbox.nudge()


async def _with_code(web: Web, principal: Principal, typed: str, address: str) -> None:
    if (await web.database.run(sessions.admit_try, principal.name, address)).throttled:
        raise TooManyTriesError
    if not await web.database.run(_use, web.sealer, principal.name, typed, address):
        raise InvalidError(problems=[_WRONG])


def _use(connection: Connection, sealer: Sealer, name: str, typed: str, address: str) -> bool:
    used = factors.use(connection, sealer, factors.number_of(connection, name), typed, now()) is not None
    if used:
        sessions.forgive(connection, name, address)
    return used


def _confirm(
    connection: Connection, sealer: Sealer, name: str, typed: str, codes: list[str], address: str, agent: str
) -> str | None:
    if not factors.confirm(connection, sealer, name, typed, codes):
        return None
    sessions.forgive(connection, name, address)
    return sessions.begin_again(connection, name, address, agent)


def _renew(connection: Connection, name: str, codes: list[str]) -> None:
    factors.replace_codes(connection, factors.number_of(connection, name), codes)
    put(connection, UserChanged(user=name, actor=name, detail="new recovery codes; the old ones ended"))


def codes_left(connection: Connection, name: str) -> int:
    """Return how many recovery codes an account has left."""
    return factors.codes_left(connection, factors.number_of(connection, name))
