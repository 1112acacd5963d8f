"""The configuration documents: rules, targets, sources, policies.

Each kind is one document in the key-value bucket ``hermes_config``, changed as a whole: a save is one revision, made
by one author, and either wholly valid or refused with the field and the reason. People change them in the web page.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from hermes_common.durations import Duration
from hermes_common.ids import AeTitle, Slug


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


class Source(Document):
    """A sender, recognised by what is filled in: calling AE title, called AE title, address or network."""

    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=120)]
    allow: bool = True
    calling_aet: AeTitle | None = None
    called_aet: AeTitle | None = None
    network: str | None = None
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


class Sources(Document):
    """Who may send. The first entry that matches decides; ``mode`` decides about everybody else."""

    mode: SourceMode = SourceMode.OPEN
    sources: Annotated[tuple[Source, ...], Field(max_length=2000)] = ()

    @field_validator("sources")
    @classmethod
    def _slugs_are_unique(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        _refuse_repeats("source", [source.slug for source in sources])
        return sources

    def of(self, calling_aet: str, called_aet: str, address: str) -> Source | None:
        """Return the first entry that an association with these properties comes from, or None."""
        return next((each for each in self.sources if each.matches(calling_aet, called_aet, address)), None)

    def judge(self, calling_aet: str, called_aet: str, address: str) -> str | None:
        """Return why this sender is refused, or None if it is accepted."""
        source = self.of(calling_aet, called_aet, address)
        if source is not None:
            return None if source.allow else f"the source {source.slug} is denied"
        if self.mode is SourceMode.ALLOW_LIST:
            return f"no source allows calling AE title {calling_aet.strip()!r} from {address}"
        return None


SHORTEST_QUIET = timedelta(seconds=1)


def _quiet(value: timedelta) -> timedelta:
    if not SHORTEST_QUIET <= value <= timedelta(days=1):
        raise ValueError("quiet_period must be between 1s and 1d")
    return value


Quiet = Annotated[Duration, AfterValidator(_quiet)]
"""How long nothing must have come: between a second and a day."""

Expression = Annotated[str, Field(min_length=1, max_length=4096)]
"""A text of the rule language; whoever saves it has it checked (docs/rules.md)."""


class QuietPeriod(Document):
    """A quiet period for series from one source, or of one modality, or both."""

    source: Slug | None = None
    """Of the entry under Sources that the association comes from."""
    modality: Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")] | None = None
    quiet_period: Quiet

    @model_validator(mode="after")
    def _says_for_what(self) -> Self:
        if self.source is None and self.modality is None:
            raise ValueError("quiet_periods: fill in source, modality or both")
        return self


class Late(StrEnum):
    """Where instances go that come after their series or study was decided."""

    AS_BEFORE = "as_before"
    PRESENT_RULES = "present_rules"


class StudyCondition(Document):
    """What has to be there before a study is complete, for studies that ``when`` is true of."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    when: Annotated[str, Field(max_length=4096)] = ""
    """A study expression; empty: every study."""
    required: Annotated[tuple[Expression, ...], Field(max_length=20)] = ()
    """Series expressions, each of which must be true of some series."""
    series: Annotated[int, Field(ge=1, le=1000)] | None = None
    """At least so many series."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.required and self.series is None:
            raise ValueError(f"condition {self.name}: fill in required, series or both")
        return self


class AfterWait(StrEnum):
    """What is done with a study that is not complete after the maximum wait."""

    PROCEED = "proceed"
    HOLD = "hold"


class StudyCompletion(Document):
    """When a study counts as complete: nothing has come for the quiet period, and every condition is met."""

    quiet_period: Quiet = timedelta(seconds=60)
    max_wait: Duration = timedelta(hours=2)
    """Counted from the first instance of the study, or of those that came after it was decided."""
    then: AfterWait = AfterWait.PROCEED
    conditions: Annotated[tuple[StudyCondition, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _wait_is_sound(self) -> Self:
        if not self.quiet_period <= self.max_wait <= timedelta(days=30):
            raise ValueError("study: max_wait must be at least quiet_period and at most 30d")
        return self


class Completion(Document):
    """When a series and a study count as complete, and what becomes of instances that come later."""

    quiet_period: Quiet = timedelta(seconds=10)
    quiet_periods: Annotated[tuple[QuietPeriod, ...], Field(max_length=500)] = ()
    """The first that fits a series holds; ``quiet_period`` for all others."""
    late: Late = Late.AS_BEFORE
    study: StudyCompletion = StudyCompletion()


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
