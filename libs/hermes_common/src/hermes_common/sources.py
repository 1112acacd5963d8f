"""Who may send: what the document ``sources`` says about one sender that asks for an association."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from hermes_common.config import SourceMode, Sources, SourceUser
from hermes_common.passcodes import passcode_fits


class Why(StrEnum):
    """What a refusal is about."""

    CALLING = "calling"
    """The sender: its AE title or address."""
    CALLED = "called"
    """The AE title that it called."""
    IDENTITY = "identity"
    """The user identity that it gave, or did not give."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The sender is not let in; ``words`` are for our own people."""

    words: str
    why: Why = Why.CALLING


@dataclass(frozen=True, slots=True)
class Admission:
    """The sender is let in. ``user`` is the name of a user whose identity was verified, else empty."""

    user: str = ""
    mpps: bool = True
    """Whether its performed procedure steps are taken."""


Judgement: TypeAlias = Admission | Refusal


@dataclass(frozen=True, slots=True)
class Identity:
    """A user identity as it was given. ``username`` is None for kinds that Hermes cannot verify (Kerberos, SAML, JWT).

    The passcode has no representation in text.
    """

    words: str
    username: str | None = None
    passcode: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: AE titles without padding, network address, user identity if one was given."""

    calling_aet: str
    called_aet: str
    address: str
    identity: Identity | None = None


def judge_caller(sources: Sources, caller: Caller) -> Judgement:
    """Say whether ``caller`` may send. The first entry that matches decides; else the mode, of the called AE title if
    it has one of its own.
    """
    called = next((c for c in sources.called if c.aet.strip() == caller.called_aet.strip()), None)
    if called is None and sources.only_called:
        return Refusal(f"called AE title {caller.called_aet.strip()!r} is not served here", Why.CALLED)
    for source in sources.sources:
        if source.matches(caller.calling_aet, caller.called_aet, caller.address):
            if not source.allow:
                return Refusal(f"the source {source.slug} is denied")
            found = _identified(source.users, f"the source {source.slug}", caller.identity, sources)
            return replace(found, mpps=source.mpps) if isinstance(found, Admission) else found
    mode = called.mode if called is not None and called.mode is not None else sources.mode
    if mode is SourceMode.ALLOW_LIST:
        return Refusal(f"no source allows calling AE title {caller.calling_aet.strip()!r} from {caller.address}")
    return _identified((), "", caller.identity, sources)


def _identified(users: tuple[SourceUser, ...], where: str, identity: Identity | None, sources: Sources) -> Judgement:
    """Judge the identity that was given against the users of the entry ``where``, if it has any."""
    if not users:
        refused = identity is not None and sources.refuse_unverified
        words = f"its user identity ({identity.words if identity is not None else ''}) cannot be verified"
        return Refusal(words, Why.IDENTITY) if refused else Admission()
    mismatch = _mismatch(users, identity)
    if mismatch is not None:
        return Refusal(f"{where} {mismatch}", Why.IDENTITY)
    return Admission(identity.username if identity is not None and identity.username is not None else "")


def _mismatch(users: tuple[SourceUser, ...], identity: Identity | None) -> str | None:
    """Say why the identity is not that of one of ``users``, or None."""
    if identity is None:
        return "needs a user identity, and none was given"
    if identity.username is None:
        return f"needs a user name, not an identity by {identity.words}"
    user = next((user for user in users if user.name == identity.username), None)
    if user is None:
        return "has no such user"
    if user.passcode is not None and not passcode_fits(identity.passcode or b"", user.passcode):
        return f"was given a wrong or missing passcode of user {user.name!r}"
    return None


def policy_words(sources: Sources) -> str:
    """Say in words who is let in: for the log and for the page."""
    allowed, denied = (sum(source.allow is allow for source in sources.sources) for allow in (True, False))
    if sources.mode is SourceMode.OPEN:
        words = "open: anybody who reaches the port may send" + (
            f", except for what {_entries(denied)} to be denied" if denied else ""
        )
    else:
        words = f"allow-list: only what {_entries(allowed)} may send" if allowed else "allow-list: nobody may send yet"
    if sources.only_called:
        titles = ", ".join(called.aet for called in sources.called) or "none"
        words += f"; only these called AE titles are served: {titles}"
    for called in sources.called:
        if called.mode is not None and called.mode is not sources.mode:
            words += f"; {called.aet} is {'open' if called.mode is SourceMode.OPEN else 'an allow-list'}"
    return words


def is_open(sources: Sources) -> bool:
    """Whether there is a called AE title to which anybody may send."""
    modes = [called.mode if called.mode is not None else sources.mode for called in sources.called]
    return SourceMode.OPEN in (modes if sources.only_called else [*modes, sources.mode])


def _entries(count: int) -> str:
    return "1 entry names" if count == 1 else f"{count} entries name"
