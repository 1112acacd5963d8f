"""Events about the router itself: configuration, users, services, alerts, parked messages."""

from typing import Any, ClassVar, Literal

from hermes_common.config import Kind
from hermes_common.events.base import Event


class ConfigChanged(Event):
    """A configuration document has a new revision. ``before`` is empty for the first."""

    entity: ClassVar[str] = "config"
    verb: ClassVar[str] = "changed"

    kind: Kind
    revision: int
    author: str
    comment: str = ""
    before: dict[str, Any] = {}
    after: dict[str, Any]

    def token(self) -> str:
        return self.kind.value


class _UserEvent(Event):
    entity: ClassVar[str] = "user"

    user: str
    actor: str
    """Who did it; for a sign-in the user."""
    address: str = ""
    detail: str = ""


class UserLoggedIn(_UserEvent):
    """Somebody signed in."""

    verb: ClassVar[str] = "logged_in"


class UserLoginFailed(_UserEvent):
    """Somebody tried to sign in and was refused. ``user`` is what was typed."""

    verb: ClassVar[str] = "login_failed"


class UserLoggedOut(_UserEvent):
    """Somebody signed out."""

    verb: ClassVar[str] = "logged_out"


class UserCreated(_UserEvent):
    """An account or a token was made."""

    verb: ClassVar[str] = "created"


class UserChanged(_UserEvent):
    """The role or the password of an account was changed, or its sessions ended."""

    verb: ClassVar[str] = "changed"


class UserDisabled(_UserEvent):
    """An account was disabled or a token revoked."""

    verb: ClassVar[str] = "disabled"


class AuditAnchored(Event):
    """The chain of the audit has come to this row: said now and then, so that rows cut off at its end are missed."""

    entity: ClassVar[str] = "audit"
    verb: ClassVar[str] = "anchored"

    sequence: int
    hash: str
    key_id: str = ""
    """Of the key that the row was hashed with; empty if with none."""


class ExportMade(Event):
    """Somebody took data out of the history as a file: about series, or the audit."""

    entity: ClassVar[str] = "export"
    verb: ClassVar[str] = "made"

    actor: str
    query: str
    """The search, as it was typed; of the audit the word ``audit`` and the filters."""
    format: str
    columns: list[str]
    masked: bool = False
    """Whether what says who the patient is was left out."""
    address: str = ""


class _ServiceEvent(Event):
    entity: ClassVar[str] = "service"

    service: str
    instance: str
    """Unique for each process: service, host and process id."""
    version: str = ""


class ServiceStarted(_ServiceEvent):
    """A service is ready for work."""

    verb: ClassVar[str] = "started"


class ServiceStopped(_ServiceEvent):
    """A service ended as it was told to."""

    verb: ClassVar[str] = "stopped"

    reason: str = ""


class ServiceCrashed(_ServiceEvent):
    """A service ended without being told to; its supervisor says so."""

    verb: ClassVar[str] = "crashed"

    reason: str
    last_lines: list[str] = []


class _AlertEvent(Event):
    entity: ClassVar[str] = "alert"

    alert_id: str
    kind: str
    """What it is about, such as ``delivery_failed``."""
    about: str
    """What exactly: a target's slug, a service, a series UID."""


class AlertRaised(_AlertEvent):
    """Something needs a person."""

    verb: ClassVar[str] = "raised"

    severity: Literal["warning", "critical"] = "warning"
    message: str


class AlertCleared(_AlertEvent):
    """What an alert was raised for is over."""

    verb: ClassVar[str] = "cleared"

    reason: str = ""
    actor: str = ""
    """Who has seen to it, if it was a person."""


class MessageParked(Event):
    """A message could not be worked on; its whole content lies in the stream HERMES_PARKED until somebody looks."""

    entity: ClassVar[str] = "message"
    verb: ClassVar[str] = "parked"

    consumer: str
    original_subject: str
    stream_sequence: int
    reason: str
    attempts: int
