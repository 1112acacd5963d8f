"""The configuration documents: rules, targets, sources, policies.

Each kind is one document in the key-value bucket ``hermes_config``, changed as a whole: a save is one revision, made
by one author, and either wholly valid or refused with the field and the reason. People change them in the web page.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hermes_common.durations import Duration
from hermes_common.ids import AeTitle, Slug
from hermes_common.passcodes import is_passcode_hash


class Document(BaseModel):
    """Base of everything in a configuration document: unknown fields are mistakes, and are named."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class RuleState(StrEnum):
    """What a rule may do: nothing yet, be evaluated and reported, act, or rest."""

    DRAFT = "draft"
    DRY_RUN = "dry_run"
    ACTIVE = "active"
    PAUSED = "paused"


class Priority(StrEnum):
    """How soon a delivery is to be made, most urgent first."""

    URGENT = "urgent"
    NORMAL = "normal"
    OFF_PEAK = "off_peak"


class Scope(StrEnum):
    """What a rule is evaluated on."""

    SERIES = "series"
    STUDY = "study"


class Action(StrEnum):
    """What a rule that fires does."""

    ROUTE = "route"
    DISCARD = "discard"


class Then(StrEnum):
    """Whether the rules after one that fired are looked at."""

    CONTINUE = "continue"
    STOP = "stop"


class Rule(Document):
    """One routing rule; the language of ``expression`` is described in docs/rules.md."""

    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=120)]
    state: RuleState = RuleState.ACTIVE
    scope: Scope = Scope.SERIES
    expression: Annotated[str, Field(max_length=4096)] = ""
    targets: tuple[Slug, ...] = ()
    priority: Priority = Priority.NORMAL
    fallback: bool = False
    action: Action = Action.ROUTE
    then: Then = Then.CONTINUE
    contact: Annotated[str, Field(max_length=200)] = ""
    comment: Annotated[str, Field(max_length=2000)] = ""

    @model_validator(mode="after")
    def _targets_fit_the_action(self) -> Self:
        if self.action is Action.ROUTE and not self.targets:
            raise ValueError(f"rule {self.slug}: a rule that routes needs at least one target")
        if self.action is Action.DISCARD and self.targets:
            raise ValueError(f"rule {self.slug}: a rule that discards cannot have targets")
        if not self.expression.strip() and not self.fallback:
            raise ValueError(f"rule {self.slug}: only a fallback rule may have no expression")
        return self


class RuleSet(Document):
    """All rules, in the order in which they are evaluated."""

    rules: Annotated[tuple[Rule, ...], Field(max_length=2000)] = ()

    @field_validator("rules")
    @classmethod
    def _slugs_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        _refuse_repeats("rule", [rule.slug for rule in rules])
        return rules


class Retry(Document):
    """When and how often a delivery is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    delay: Duration = timedelta(seconds=60)
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    max_delay: Duration = timedelta(hours=1)

    @model_validator(mode="after")
    def _delays_are_sound(self) -> Self:
        if self.delay <= timedelta(0) or self.max_delay < self.delay:
            raise ValueError("retry: delay must be more than 0 and max_delay at least as long as delay")
        return self


class _Target(Document):
    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=120)]
    enabled: bool = True
    concurrency: Annotated[int, Field(ge=1, le=32)] = 2
    retry: Retry = Retry()
    contact: Annotated[str, Field(max_length=200)] = ""
    comment: Annotated[str, Field(max_length=2000)] = ""


class DicomTarget(_Target):
    """A Storage SCP: instances go to it over C-STORE (PS3.4 B)."""

    kind: Literal["dicom"] = "dicom"
    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    called_aet: AeTitle
    calling_aet: AeTitle = "HERMES"
    connect_timeout: Duration = timedelta(seconds=10)
    response_timeout: Duration = timedelta(seconds=60)

    @field_validator("connect_timeout", "response_timeout")
    @classmethod
    def _ends(cls, value: timedelta) -> timedelta:
        if not timedelta(0) < value <= timedelta(days=1):
            raise ValueError("a time limit must be more than 0 and at most 1d")
        return value


class FolderTarget(_Target):
    """A folder on the dispatcher's machine: one DICOM file per instance, below the study's and the series' UID."""

    kind: Literal["folder"] = "folder"
    path: Annotated[str, Field(min_length=1, max_length=1024)]

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise ValueError("the folder must be an absolute path without '..'")
        return path


Target = Annotated[DicomTarget | FolderTarget, Field(discriminator="kind")]


class Targets(Document):
    """All targets."""

    targets: Annotated[tuple[Target, ...], Field(max_length=500)] = ()

    @field_validator("targets")
    @classmethod
    def _slugs_are_unique(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        _refuse_repeats("target", [target.slug for target in targets])
        return targets

    def get(self, slug: str) -> DicomTarget | FolderTarget | None:
        """Return the target of that slug, or None."""
        return next((target for target in self.targets if target.slug == slug), None)


class SourceMode(StrEnum):
    """Whether a sender that no entry names is accepted."""

    OPEN = "open"
    ALLOW_LIST = "allow_list"


class SourceUser(Document):
    """A user whose identity an association may give (PS3.7 D.3.3.7): by name alone, or by name and passcode."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    passcode: Annotated[str, Field(max_length=200)] | None = None
    """What is kept of the passcode (``hermes_common.passcodes``); None where the name suffices."""

    @field_validator("passcode")
    @classmethod
    def _is_a_hash(cls, value: str | None) -> str | None:
        if value is not None and not is_passcode_hash(value):
            raise ValueError("passcode must be the hash that the page of sources makes, never the passcode itself")
        return value


class CommitmentAddress(Document):
    """Where a sender wants the results of its storage commitment requests (PS3.4 J.3.3)."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    aet: AeTitle | None = None
    """AE title to call; None is the one that the request came from."""


class Source(Document):
    """A sender, recognised by what is filled in: calling AE title, called AE title, address or network."""

    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=120)]
    allow: bool = True
    calling_aet: AeTitle | None = None
    called_aet: AeTitle | None = None
    network: str | None = None
    users: Annotated[tuple[SourceUser, ...], Field(max_length=200)] = ()
    """With any, an association has to give the identity of one of them."""
    commitment: CommitmentAddress | None = None
    comment: Annotated[str, Field(max_length=2000)] = ""

    @field_validator("network")
    @classmethod
    def _is_a_network(cls, value: str | None) -> str | None:
        return None if value is None else str(ip_network(value, strict=False))

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if self.calling_aet is None and self.called_aet is None and self.network is None:
            raise ValueError(f"source {self.slug}: fill in at least one of calling_aet, called_aet, network")
        return self

    def matches(self, calling_aet: str, called_aet: str, address: str) -> bool:
        """Return whether an association with these properties comes from this source."""
        if self.calling_aet is not None and self.calling_aet.strip() != calling_aet.strip():
            return False
        if self.called_aet is not None and self.called_aet.strip() != called_aet.strip():
            return False
        return self.network is None or _contains(ip_network(self.network), address)


class CalledTitle(Document):
    """An AE title under which senders call this router, and who may call it where no entry decides."""

    aet: AeTitle
    mode: SourceMode | None = None
    """None is the mode of the document."""
    comment: Annotated[str, Field(max_length=2000)] = ""


class Sources(Document):
    """Who may send (``hermes_common.sources`` judges). The first entry that matches decides; ``mode`` decides about
    everybody else.
    """

    mode: SourceMode = SourceMode.OPEN
    sources: Annotated[tuple[Source, ...], Field(max_length=2000)] = ()
    called: Annotated[tuple[CalledTitle, ...], Field(max_length=100)] = ()
    only_called: bool = False
    """Whether associations that call an AE title not in ``called`` are refused."""
    refuse_unverified: bool = False
    """Whether associations that give a user identity which nobody here can verify are refused, not just unanswered."""

    @field_validator("called")
    @classmethod
    def _titles_are_unique(cls, called: tuple[CalledTitle, ...]) -> tuple[CalledTitle, ...]:
        titles = [title.aet.strip() for title in called]
        if len(set(titles)) != len(titles):
            raise ValueError("a called AE title is there more than once")
        return called

    @field_validator("sources")
    @classmethod
    def _slugs_are_unique(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        _refuse_repeats("source", [source.slug for source in sources])
        return sources

    def find(self, calling_aet: str, called_aet: str, address: str) -> Source | None:
        """Return the entry that decides about a sender, or None where the mode does."""
        return next((source for source in self.sources if source.matches(calling_aet, called_aet, address)), None)


class Completion(Document):
    """When a series counts as complete."""

    quiet_period: Duration = timedelta(seconds=10)

    @field_validator("quiet_period")
    @classmethod
    def _in_range(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(days=1):
            raise ValueError("quiet_period must be between 1s and 1d")
        return value


class Retention(Document):
    """How long a series is kept after it is done with, by what became of it."""

    delivered: Duration = timedelta(days=7)
    unmatched: Duration = timedelta(days=14)
    discarded: Duration = timedelta(days=14)


class Policies(Document):
    """Completion and retention."""

    completion: Completion = Completion()
    retention: Retention = Retention()


class Kind(StrEnum):
    """The kinds of configuration document; the value is the key in the bucket and the token in subjects."""

    RULES = "rules"
    TARGETS = "targets"
    SOURCES = "sources"
    POLICIES = "policies"


AnyDocument = RuleSet | Targets | Sources | Policies
MODELS: dict[Kind, type[AnyDocument]] = {
    Kind.RULES: RuleSet,
    Kind.TARGETS: Targets,
    Kind.SOURCES: Sources,
    Kind.POLICIES: Policies,
}


class Revision(BaseModel):
    """One revision of one document as it lies in the bucket. Revision 0 is the built-in default, never stored."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    revision: Annotated[int, Field(ge=0)]
    author: str
    comment: str = ""
    time: datetime
    document: dict[str, Any]

    def parsed(self) -> AnyDocument:
        """Return the document as its model."""
        return MODELS[self.kind].model_validate(self.document)


def _refuse_repeats(what: str, slugs: list[str]) -> None:
    repeated = sorted({slug for slug in slugs if slugs.count(slug) > 1})
    if repeated:
        raise ValueError(f"each {what} needs a short name of its own; repeated: {', '.join(repeated)}")


def _contains(network: IPv4Network | IPv6Network, address: str) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip) in network
