"""The configuration document of the targets: what they have in common, and the settings of each kind.

``secrets_of`` and ``with_secrets`` are the only ways to the secrets of a target, whatever its kind. A secret is bound
to the ``destination`` of its target: it cannot be kept for another address.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from hermes_common.addresses import Host, Port, Url
from hermes_common.changes import Changes, Transcode
from hermes_common.documents import Document, refuse_repeats
from hermes_common.durations import Duration
from hermes_common.endpoints import (
    MOST,
    DicomEndpoint,
    Endpoint,
    StowEndpoint,
    Strategy,
    Weight,
    refuse_same,
)
from hermes_common.ids import AeTitle, Slug
from hermes_common.secrets import Pem, Secret
from hermes_common.templates import DEFAULT, PathTemplate

Line = Annotated[str, StringConstraints(max_length=500, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text without control characters."""

LONGEST_LIMIT = timedelta(days=1)


def _is_a_limit(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST_LIMIT:
        raise ValueError("a time limit must be more than 0 and at most 1d")
    return value


Limit = Annotated[Duration, AfterValidator(_is_a_limit)]


class Priority(StrEnum):
    """How soon a delivery is to be made, most urgent first."""

    URGENT = "urgent"
    NORMAL = "normal"
    OFF_PEAK = "off_peak"


class Retry(Document):
    """When and how often a delivery is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    delay: Duration = timedelta(seconds=60)
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    max_delay: Duration = timedelta(hours=1)
    max_age: Duration = timedelta(days=7)
    """How long after it was made, or last restarted, a delivery is tried at all; 0 is for ever."""

    def expiry(self, since: datetime) -> datetime | None:
        """Return when a delivery of that time has been tried for long enough, or None for never."""
        return since + self.max_age if self.max_age else None

    @model_validator(mode="after")
    def _delays_are_sound(self) -> Self:
        if self.delay <= timedelta(0) or self.max_delay < self.delay:
            raise ValueError("retry: delay must be more than 0 and max_delay at least as long as delay")
        return self


class Pause(Document):
    """Nothing is sent to a target, from ``since`` until somebody resumes it or ``until`` has passed."""

    since: AwareDatetime
    until: AwareDatetime | None = None
    reason: Annotated[str, Field(max_length=500)] = ""
    actor: Annotated[str, Field(max_length=200)] = ""


class Tls(Document):
    """How to trust the other side, and what to show it. PEM throughout."""

    ca: Pem = ""
    """Certificate authorities to trust instead of the system's."""
    certificate: Pem = ""
    """Our own certificate, with its chain."""
    key: Secret = SecretStr("")
    """The private key of our certificate, not encrypted."""
    check_name: bool = True
    """Whether the certificate has to name the host that is called."""

    @model_validator(mode="after")
    def _key_and_certificate_belong_together(self) -> Self:
        if bool(self.certificate) != bool(self.key.get_secret_value()):
            raise ValueError("tls: a certificate of our own and its key are needed together")
        return self


class _Target(Document):
    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=120)]
    enabled: bool = True
    pause: Pause | None = None
    concurrency: Annotated[int, Field(ge=1, le=32)] = 2
    """Deliveries at once to each endpoint, over all dispatchers."""
    bandwidth: Annotated[int, Field(ge=64 * 1024, le=10**11)] | None = None
    """Octets a second that are sent at most, over all endpoints and dispatchers."""
    retry: Retry = Retry()
    contact: Annotated[str, Field(max_length=200)] = ""
    comment: Annotated[str, Field(max_length=2000)] = ""
    changes: Changes | None = None
    """What is changed on the way; nothing if not given."""

    @field_validator("changes")
    @classmethod
    def _negotiates_if_it_has_to(cls, changes: Changes | None) -> Changes | None:
        negotiates = cls.model_fields["kind"].default == "dicom"
        if changes is not None and changes.transcode is Transcode.IF_NEEDED and not negotiates:
            raise ValueError("transcode: only a DICOM target says what it takes; choose never or always")
        return changes

    def is_paused(self, now: datetime) -> bool:
        """Return whether nothing is to be sent at that instant: disabled, or paused with the end not reached."""
        return not self.enabled or (self.pause is not None and (self.pause.until is None or now < self.pause.until))

    @property
    def destination(self) -> str:
        """Where the secrets of this target may be used, in one line."""
        return ""

    def all_endpoints(self) -> tuple[Endpoint, ...]:
        """Return every address of this target, its own first: one at least."""
        return (Endpoint("", self.concurrency),)


def _is_a_stay(value: timedelta) -> timedelta:
    if not timedelta(0) <= value <= timedelta(minutes=1):
        raise ValueError("an association is kept open for a result for 0s to 1m")
    return value


class AskCommitment(Document):
    """The target is asked to take responsibility for what it was sent (Storage Commitment Push Model, PS3.4 J)."""

    max_wait: Limit = timedelta(hours=1)
    """How long after a request it may take to say what it keeps. Refused requests follow the retry policy."""
    stay: Annotated[Duration, AfterValidator(_is_a_stay)] = timedelta(seconds=2)
    """How long the association of the request is kept open for the result, before it may come on a new one."""


class DicomTarget(_Target):
    """A Storage SCP: instances go to it over C-STORE (PS3.4 B)."""

    kind: Literal["dicom"] = "dicom"
    host: Host
    port: Port
    called_aet: AeTitle
    calling_aet: AeTitle = "HERMES"
    pass_calling_aet: bool = False
    """Whether the target is shown the AE title of whoever sent the instance to us, instead of ``calling_aet``."""
    max_pdu: Annotated[int, Field(ge=4096, le=131072)] | None = None
    """Octets of a PDU that we send at most, where that is less than the target takes."""
    tls: Tls | None = None
    connect_timeout: Limit = timedelta(seconds=10)
    response_timeout: Limit = timedelta(seconds=60)
    commitment: AskCommitment | None = None
    """Storage commitment is asked for each delivery that arrived; not at all if not given."""
    weight: Weight = 1
    endpoints: Annotated[tuple[DicomEndpoint, ...], Field(max_length=MOST - 1)] = ()
    """Further addresses of the same archive, in the order in which they stand in for the first."""
    strategy: Strategy = Strategy.FAILOVER

    @model_validator(mode="after")
    def _endpoints_differ(self) -> Self:
        refuse_same([each.name for each in self.all_endpoints()])
        return self

    @property
    def destination(self) -> str:
        return ", ".join((f"{self.host}:{self.port}", *(f"{each.host}:{each.port}" for each in self.endpoints)))

    def all_endpoints(self) -> tuple[Endpoint, ...]:
        own = Endpoint(f"{self.called_aet}@{self.host}:{self.port}", self.concurrency, self.weight)
        return own, *(Endpoint(each.name, each.concurrency or self.concurrency, each.weight) for each in self.endpoints)


class NoAuth(Document):
    """Whoever reaches the service may use it."""

    mode: Literal["none"] = "none"


class BasicAuth(Document):
    """User name and password (RFC 7617)."""

    mode: Literal["basic"] = "basic"
    user: Annotated[Line, Field(min_length=1, pattern=r"^[^:]*$")]
    password: Secret


class BearerAuth(Document):
    """A token that somebody gave us (RFC 6750)."""

    mode: Literal["bearer"] = "bearer"
    token: Secret


class OAuth2Auth(Document):
    """Tokens that we ask for with client credentials (RFC 6749 4.4)."""

    mode: Literal["oauth2"] = "oauth2"
    token_url: Url
    client_id: Annotated[Line, Field(min_length=1)]
    client_secret: Secret
    scope: Line = ""


Auth = Annotated[NoAuth | BasicAuth | BearerAuth | OAuth2Auth, Field(discriminator="mode")]


class StowTarget(_Target):
    """A DICOMweb service: instances are stored over STOW-RS (PS3.18 10.5)."""

    kind: Literal["stow"] = "stow"
    url: Url
    """Base address of the service; ``/studies`` is appended."""
    auth: Auth = NoAuth()
    tls: Tls | None = None
    batch: Annotated[int, Field(ge=1, le=100)] = 10
    """Instances in one request at most."""
    connect_timeout: Limit = timedelta(seconds=10)
    response_timeout: Limit = timedelta(seconds=60)
    weight: Weight = 1
    endpoints: Annotated[tuple[StowEndpoint, ...], Field(max_length=MOST - 1)] = ()
    """Further addresses of the same service, in the order in which they stand in for the first."""
    strategy: Strategy = Strategy.FAILOVER

    @model_validator(mode="after")
    def _endpoints_differ(self) -> Self:
        refuse_same([each.name for each in self.all_endpoints()])
        return self

    @property
    def destination(self) -> str:
        tokens = f" with tokens from {self.auth.token_url}" if isinstance(self.auth, OAuth2Auth) else ""
        return ", ".join((self.url, *(each.url for each in self.endpoints))) + tokens

    def all_endpoints(self) -> tuple[Endpoint, ...]:
        own = Endpoint(self.url, self.concurrency, self.weight)
        return own, *(Endpoint(each.name, each.concurrency or self.concurrency, each.weight) for each in self.endpoints)


class S3Target(_Target):
    """A bucket of an S3 store: one object for each instance."""

    kind: Literal["s3"] = "s3"
    endpoint: Annotated[str, Field(min_length=1, max_length=260, pattern=r"^[A-Za-z0-9_.-]+(:[0-9]{1,5})?$")]
    """``host:port``, without a scheme."""
    secure: bool = True
    """Whether to speak TLS."""
    region: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    key_template: PathTemplate = DEFAULT
    access_key: Annotated[Line, Field(min_length=1)]
    secret_key: Secret
    tls: Tls | None = None
    connect_timeout: Limit = timedelta(seconds=10)
    response_timeout: Limit = timedelta(seconds=60)

    @property
    def destination(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.endpoint}"


class SftpTarget(_Target):
    """A folder on an SSH server: one DICOM file for each instance, over SFTP."""

    kind: Literal["sftp"] = "sftp"
    host: Host
    port: Port = 22
    host_key: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096)]
    """The server's public key, as in ``known_hosts`` without the name: ``ssh-ed25519 AAAA...``. No other is trusted."""
    user: Annotated[Line, Field(min_length=1)]
    password: Secret = SecretStr("")
    private_key: Secret = SecretStr("")
    """In the format of OpenSSH or PEM, not encrypted."""
    folder: Annotated[str, Field(min_length=1, max_length=1024)] = "."
    """Where files go; relative to where the server lets us in, or absolute. It has to exist."""
    path_template: PathTemplate = DEFAULT
    connect_timeout: Limit = timedelta(seconds=10)
    response_timeout: Limit = timedelta(seconds=60)

    @field_validator("host_key")
    @classmethod
    def _is_a_public_key(cls, value: str) -> str:
        parts = value.split()
        if len(parts) < 2 or not parts[0].startswith(("ssh-", "ecdsa-", "sk-")) or not parts[1].startswith("AAAA"):
            raise ValueError("write the server's key as ssh-keyscan prints it, without the name: ssh-ed25519 AAAA...")
        return " ".join(parts[:2])

    @field_validator("folder")
    @classmethod
    def _is_a_folder(cls, value: str) -> str:
        if ".." in PurePosixPath(value).parts or any(ord(character) < 32 for character in value):
            raise ValueError("the folder must be without '..' and control characters")
        return value

    @model_validator(mode="after")
    def _can_sign_in(self) -> Self:
        if not self.password.get_secret_value() and not self.private_key.get_secret_value():
            raise ValueError("a password or a private key is needed")
        return self

    @property
    def destination(self) -> str:
        return f"{self.user}@{self.host}:{self.port} with {self.host_key}"


class FolderTarget(_Target):
    """A folder on the dispatcher's machine: one DICOM file per instance, named by the template."""

    kind: Literal["folder"] = "folder"
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    path_template: PathTemplate = DEFAULT

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise ValueError("the folder must be an absolute path without '..'")
        return path


AnyTarget: TypeAlias = DicomTarget | StowTarget | S3Target | SftpTarget | FolderTarget
Target = Annotated[AnyTarget, Field(discriminator="kind")]
KINDS: tuple[str, ...] = tuple(model.model_fields["kind"].default for model in get_args(AnyTarget))
"""The kinds of target, by the words in the documents."""


class Targets(Document):
    """All targets."""

    targets: Annotated[tuple[Target, ...], Field(max_length=500)] = ()

    @field_validator("targets")
    @classmethod
    def _slugs_are_unique(cls, targets: tuple[AnyTarget, ...]) -> tuple[AnyTarget, ...]:
        refuse_repeats("target", [target.slug for target in targets])
        return targets

    def get(self, slug: str) -> AnyTarget | None:
        """Return the target of that slug, or None."""
        return next((target for target in self.targets if target.slug == slug), None)


def strategy_of(target: AnyTarget) -> Strategy:
    """Return how an endpoint of the target is chosen; a kind that has one address only has nothing to choose."""
    return target.strategy if isinstance(target, DicomTarget | StowTarget) else Strategy.FAILOVER


def at_endpoint(target: AnyTarget, name: str) -> AnyTarget:
    """Return the target as it is at one of its endpoints. Its secrets have been opened: they know the whole target."""
    if isinstance(target, DicomTarget):
        for other in target.endpoints:
            if other.name == name:
                return target.model_copy(
                    update={"host": other.host, "port": other.port, "called_aet": other.called_aet, "endpoints": ()}
                )
    if isinstance(target, StowTarget):
        for service in target.endpoints:
            if service.name == name:
                return target.model_copy(update={"url": service.url, "endpoints": ()})
    return target


def secrets_of(target: Document) -> dict[str, SecretStr]:
    """Return the secrets of a part of a document that are filled in, by the path of their field (``auth.password``)."""
    return {path: value for path, value in _secrets(target, "") if value.get_secret_value()}


def _secrets(document: Document, prefix: str) -> list[tuple[str, SecretStr]]:
    found: list[tuple[str, SecretStr]] = []
    for name in type(document).model_fields:
        value = getattr(document, name)
        if isinstance(value, SecretStr):
            found.append((prefix + name, value))
        elif isinstance(value, Document):
            found += _secrets(value, f"{prefix}{name}.")
    return found


Holder = TypeVar("Holder", bound=Document)


def with_secrets(target: Holder, secrets: Mapping[str, SecretStr]) -> Holder:
    """Return a target, or another part of a document, with other secrets in the fields that are named."""
    changed: Holder = _with(target, secrets)
    return changed


def _with(document: Any, secrets: Mapping[str, SecretStr]) -> Any:
    changes: dict[str, Any] = {}
    for path, secret in secrets.items():
        name, _, rest = path.partition(".")
        inner = changes.get(name, getattr(document, name))
        changes[name] = _with(inner, {rest: secret}) if rest else secret
    return document.model_copy(update=changes)
