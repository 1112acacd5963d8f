"""What can be wrong with a request, in words for the person who made it.

WebError
├── MalformedError            400  the request cannot be read
├── SignInNeededError         401  nobody is signed in, or the token is not valid
├── ForbiddenError            403  the role does not allow it
├── NamesMaskedError          403  names of patients are not shown to who asks
├── ForgeryError              403  it did not come from our own pages
├── SecondFactorNeededError   403  the account has to set up a second factor first
├── NotAdmittedError          403  the identity provider's word is not enough to come in
├── NotFoundError             404
├── NoPageError               405  it takes a form, and there is no page of it
├── StateConflictError        409  not in this state
├── PreconditionFailedError   412  somebody saved first
├── InvalidError              422  fields and why
├── PreconditionRequiredError 428  If-Match is missing
├── TooManyTriesError         429
└── UnavailableError          503  something outside is away
    ├── DatabaseUnavailableError
    ├── BusyError             too many do the same at once
    └── LedgerMissingError    the bookkeeper has not made the history yet
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field; ``line`` and ``column`` for a place in a rule's expression.

    ``rule``, ``case`` and ``clauses`` (what each came to) for a test case of a rule that fails.
    """

    field: str
    message: str
    line: int | None = None
    column: int | None = None
    suggestion: str | None = None
    rule: str | None = None
    case: str | None = None
    clauses: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class WebError(Exception):
    """A request that is answered with a problem document or a page that says what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"
    action: ClassVar[str] = "Try again; if it happens again, look at the log of the web service."

    def __init__(self, detail: str = "", action: str | None = None, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.advice = action if action is not None else self.action
        self.problems = tuple(problems)

    def document(self) -> dict[str, Any]:
        """Return the RFC 9457 problem document."""
        found: dict[str, Any] = {
            "type": f"urn:hermes:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "action": self.advice,
        }
        if self.problems:
            found["errors"] = [problem.to_dict() for problem in self.problems]
        return found


class MalformedError(WebError):
    """The request cannot be read."""

    status = 400
    code = "malformed"
    title = "The request cannot be read"
    action = "Correct the request; /api/v1/openapi.json describes it."


class SignInNeededError(WebError):
    """Nobody is signed in."""

    status = 401
    code = "sign-in-needed"
    title = "You are not signed in"
    action = "Send 'Authorization: Bearer <token>'; an administrator makes tokens under Users and tokens."


class ForbiddenError(WebError):
    """The role does not allow it."""

    status = 403
    code = "forbidden"
    title = "Only an administrator may do this"
    action = "Ask an administrator to do it, or to change your role."


class NamesMaskedError(WebError):
    """It could show the name of a patient, and who asks may not see names."""

    status = 403
    code = "names-masked"
    title = "Names of patients are not shown to you"
    action = "An administrator can have names shown in a session, with a reason: Your account. Others ask one of them."


class ForgeryError(WebError):
    """A state-changing request that did not come from our own pages."""

    status = 403
    code = "forgery"
    title = "The request did not come from this page"
    action = "Reload the page and try again; programs use a token instead of the session cookie."


class SecondFactorNeededError(WebError):
    """The account has to set up a second factor before anything else."""

    status = 403
    code = "second-factor-needed"
    title = "Set up a second factor first"
    action = "Open Your account: this installation asks for a one-time code beside the password."


class NotAdmittedError(WebError):
    """The identity provider's word is not enough to come in."""

    status = 403
    code = "not-admitted"
    title = "You are not admitted"
    action = "Try again from the sign-in page. If it stays so, an administrator finds the reason in the audit."


class NotFoundError(WebError):
    """It does not exist."""

    status = 404
    code = "not-found"
    title = "Not found"
    action = "Check the name or the address; the list shows what there is."


class NoPageError(WebError):
    """The address takes what a form sends, and has no page to be loaded again."""

    status = 405
    code = "no-page"
    title = "There is no page at this address"
    action = "It takes what a form sends, and cannot be loaded again. Open the page of the form from the menu."


class StateConflictError(WebError):
    """What was asked does not fit the present state."""

    status = 409
    code = "conflict"
    title = "Not possible in this state"
    action = "Look at its present state, then decide again."


class PreconditionFailedError(WebError):
    """Somebody else saved first."""

    status = 412
    code = "changed-meanwhile"
    title = "Somebody else saved first"
    action = "Load the present revision, make the change again, and save."


class TooLargeError(WebError):
    """More than a request may hold."""

    status = 413
    code = "too-large"
    title = "The request is too large"
    action = "Send less at once."


class InvalidError(WebError):
    """Fields that are not acceptable, each with the reason."""

    status = 422
    code = "invalid"
    title = "Not saved: some fields are not valid"
    action = "Correct the fields that are named and send it again."


class PreconditionRequiredError(WebError):
    """If-Match is missing."""

    status = 428
    code = "if-match-missing"
    title = "If-Match is missing"
    action = "GET the document first and send its ETag as If-Match, so that nobody's change is overwritten."


class TooManyTriesError(WebError):
    """Too many tries to sign in."""

    status = 429
    code = "too-many-tries"
    title = "Too many tries to sign in"
    action = "Wait 15 minutes, then try again."


class UnavailableError(WebError):
    """Something outside is away."""

    status = 503
    code = "unavailable"
    title = "A part of the system is away"
    action = "Try again in a few seconds; see System status for what is missing."


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL does not answer."""

    code = "database-unavailable"
    title = "The database is away"
    action = "Images are still received and delivered. Check PostgreSQL; this page works again as soon as it does."


class BusyError(UnavailableError):
    """Too many replays of the history are under way."""

    code = "busy"
    title = "Too many backtests are under way"
    action = "Wait until one of them has ended, and try again."


class LedgerMissingError(UnavailableError):
    """The bookkeeper has not made the tables of the history yet."""

    code = "ledger-missing"
    title = "There is no history yet"
    action = "Start the bookkeeper: it makes the history at its first start and fills it from the event stream."
