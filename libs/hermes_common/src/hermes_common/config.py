"""The configuration documents: rules, targets, sources, policies, alerting.

Each kind is one document in the key-value bucket ``hermes_config``, changed as a whole: a save is one revision, made
by one author, and either wholly valid or refused with the field and the reason. People change them in the web page.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from hermes_common.alerting import Alerting
from hermes_common.documents import Document, refuse_repeats
from hermes_common.durations import Duration
from hermes_common.ids import AeTitle, Slug
from hermes_common.passcodes import is_passcode_hash
from hermes_common.retention import Orphans, Retention, Watermark
from hermes_common.secrets import is_mark
from hermes_common.targets import (
    AnyTarget,
    DicomTarget,
    FolderTarget,
    Pause,
    Priority,
    Retry,
    S3Target,
    SftpTarget,
    StowTarget,
    Target,
    Targets,
    Tls,
)
from hermes_common.windows import OffPeak

__all__ = [
    "MODELS",
    "Action",
    "Alerting",
    "AnyDocument",
    "AnyTarget",
    "Completion",
    "DicomTarget",
    "Document",
    "FolderTarget",
    "Kind",
    "Needs",
    "OffPeak",
    "Orphans",
    "Pause",
    "Policies",
    "Priority",
    "Retention",
    "Retry",
    "Revision",
    "Rule",
    "RuleSet",
    "RuleState",
    "S3Target",
    "Scope",
    "SftpTarget",
    "Source",
    "SourceMode",
    "Sources",
    "StowTarget",
    "Target",
    "Targets",
    "Then",
    "Tls",
    "Watermark",
]


class AfterWait(StrEnum):
    """What is done with a study that is not complete after the maximum wait."""

    PROCEED = "proceed"
    HOLD = "hold"


SHORTEST_QUIET = timedelta(seconds=1)
LONGEST_WAIT = timedelta(days=30)

Expression = Annotated[str, Field(min_length=1, max_length=4096)]
"""A text of the rule language; whoever saves it has it checked (docs/rules.md)."""


class Needs(Document):
    """What has to be there before a study is complete."""

    required: Annotated[tuple[Expression, ...], Field(max_length=20)] = ()
    """Series expressions, each of which must be true of some series."""
    series: Annotated[int, Field(ge=1, le=1000)] | None = None
    """At least so many series."""
    max_wait: Duration | None = None
    """How long it is waited for; None is the maximum wait of studies."""
    then: AfterWait | None = None
    """What is done with a study that lacks it after that; None is what is done with all studies."""

    @field_validator("max_wait")
    @classmethod
    def _wait_ends(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not SHORTEST_QUIET <= value <= LONGEST_WAIT:
            raise ValueError("max_wait must be between 1s and 30d")
        return value


class RuleState(StrEnum):
    """What a rule may do: nothing yet, be evaluated and reported, act, or rest."""

    DRAFT = "draft"
    DRY_RUN = "dry_run"
    ACTIVE = "active"
    PAUSED = "paused"


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


class Notification(StrEnum):
    """What of a rule is told by an alert, besides its failure, which always is."""

    MATCHED = "matched"
    """A series that the rule routed or discarded: one alert for each series."""


CaseField = Annotated[str, Field(min_length=1, max_length=200)]
CaseValues = Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=32)]


class RuleCase(Document):
    """A test case of a rule: tags (and facts) of a series, and the answer that is expected.

    ``verdict`` is what the rule's own expression comes to; ``targets`` where the whole set sends such a series. ``at``
    is the time at which it is evaluated; without it a fixed one, so that the answer never changes by itself.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    tags: Annotated[dict[CaseField, CaseValues], Field(max_length=200)]
    at: AwareDatetime | None = None
    verdict: Literal["match", "no_match", "unknown"] | None = None
    targets: Annotated[tuple[Slug, ...], Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        if self.verdict is None and self.targets is None:
            raise ValueError(f"test case {self.name!r}: say which verdict or which targets are expected")
        return self


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
    notifications: Annotated[tuple[Notification, ...], Field(max_length=len(Notification))] = ()
    """What raises an alert, which names the contact."""
    contact: Annotated[str, Field(max_length=200)] = ""
    comment: Annotated[str, Field(max_length=2000)] = ""
    needs: Needs | None = None
    """For a rule about studies: what a study that its expression is true of must have before it is complete."""
    cases: Annotated[tuple[RuleCase, ...], Field(max_length=50)] = ()
    """Run at every save; one that fails keeps the rule from being active."""

    @field_validator("cases")
    @classmethod
    def _names_are_unique(cls, cases: tuple[RuleCase, ...]) -> tuple[RuleCase, ...]:
        refuse_repeats("test case", [case.name for case in cases], "name")
        return cases

    @model_validator(mode="after")
    def _targets_fit_the_action(self) -> Self:
        if self.action is Action.ROUTE and not self.targets:
            raise ValueError(f"rule {self.slug}: a rule that routes needs at least one target")
        if self.action is Action.DISCARD and self.targets:
            raise ValueError(f"rule {self.slug}: a rule that discards cannot have targets")
        if not self.expression.strip() and not self.fallback:
            raise ValueError(f"rule {self.slug}: only a fallback rule may have no expression")
        return self

    @model_validator(mode="after")
    def _needs_fit(self) -> Self:
        if self.needs is None:
            return self
        if self.scope is not Scope.STUDY:
            raise ValueError(f"rule {self.slug}: only a rule about studies can need series (needs)")
        if self.fallback:
            raise ValueError(
                f"rule {self.slug}: a fallback rule applies to every study, so it cannot need series (needs)"
            )
        if not self.needs.required and self.needs.series is None:
            raise ValueError(f"rule {self.slug}: needs: fill in required, series or both")
        return self


class RuleSet(Document):
    """All rules, in the order in which they are evaluated."""

    rules: Annotated[tuple[Rule, ...], Field(max_length=2000)] = ()

    @field_validator("rules")
    @classmethod
    def _slugs_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        refuse_repeats("rule", [rule.slug for rule in rules])
        return rules


class SourceMode(StrEnum):
    """Whether a sender that no entry names is accepted."""

    OPEN = "open"
    ALLOW_LIST = "allow_list"


class SourceUser(Document):
    """A user whose identity an association may give (PS3.7 D.3.3.7): by name alone, or by name and passcode."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    passcode: Annotated[str, Field(max_length=200)] | None = None
    """What is kept of the passcode (``hermes_common.passcodes``); None where the name suffices. It is shown only as a
    mark (``sealed:...``), which means "keep it" when it is sent back, and fits nothing where it is stored.
    """

    @field_validator("passcode")
    @classmethod
    def _is_a_hash(cls, value: str | None) -> str | None:
        if value is not None and not is_passcode_hash(value) and not is_mark(value):
            raise ValueError("passcode must be the hash that the page of sources makes, never the passcode itself")
        return value


class CommitmentAddress(Document):
    """Where a sender wants the results of its storage commitment requests (PS3.4 J.3.3)."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    aet: AeTitle | None = None
    """AE title to call; None is the one that the request came from."""
    tls: bool = False
    """Whether they are taken over TLS: the receiver shows the certificate of its TLS port, and trusts the authorities
    that vouch for its clients (``HERMES_DICOM_TLS_CA``), or without any those of the system.
    """


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
    mpps: bool = True
    """Whether its performed procedure steps (MPPS) are taken."""
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
        refuse_repeats("source", [source.slug for source in sources])
        return sources

    def find(self, calling_aet: str, called_aet: str, address: str) -> Source | None:
        """Return the entry that decides about a sender, or None where the mode does."""
        return next((source for source in self.sources if source.matches(calling_aet, called_aet, address)), None)


def _quiet(value: timedelta) -> timedelta:
    if not SHORTEST_QUIET <= value <= timedelta(days=1):
        raise ValueError("quiet_period must be between 1s and 1d")
    return value


Quiet = Annotated[Duration, AfterValidator(_quiet)]
"""How long nothing must have come: between a second and a day."""


class QuietPeriod(Document):
    """A quiet period for series from one source, to one called AE title, of one modality, or several of these."""

    source: Slug | None = None
    """Of the entry under Sources that the association comes from."""
    called_aet: AeTitle | None = None
    """AE title that the sender called."""
    modality: Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")] | None = None
    quiet_period: Quiet

    @model_validator(mode="after")
    def _says_for_what(self) -> Self:
        if self.source is None and self.called_aet is None and self.modality is None:
            raise ValueError("quiet_periods: fill in source, called_aet, modality, or several of them")
        return self


class Late(StrEnum):
    """Where instances go that come after their series or study was decided."""

    AS_BEFORE = "as_before"
    PRESENT_RULES = "present_rules"


class StudyCondition(Needs):
    """What has to be there before a study is complete, for studies that ``when`` is true of."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    when: Annotated[str, Field(max_length=4096)] = ""
    """A study expression; empty: every study."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.required and self.series is None:
            raise ValueError(f"condition {self.name}: fill in required, series or both")
        return self


class StudyCompletion(Document):
    """When a study counts as complete: nothing has come for the quiet period, and every condition is met."""

    quiet_period: Quiet = timedelta(seconds=60)
    max_wait: Duration = timedelta(hours=2)
    """Counted from the first instance of the study, or of those that came after it was decided."""
    then: AfterWait = AfterWait.PROCEED
    conditions: Annotated[tuple[StudyCondition, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _wait_is_sound(self) -> Self:
        if not self.quiet_period <= self.max_wait <= LONGEST_WAIT:
            raise ValueError("study: max_wait must be at least quiet_period and at most 30d")
        return self


class Completion(Document):
    """When a series and a study count as complete, and what becomes of instances that come later."""

    quiet_period: Quiet = timedelta(seconds=10)
    quiet_periods: Annotated[tuple[QuietPeriod, ...], Field(max_length=500)] = ()
    """The first that fits a series holds; ``quiet_period`` for all others."""
    late: Late = Late.AS_BEFORE
    study: StudyCompletion = StudyCompletion()


MAX_EXTRA_TAGS = 64
"""Attributes that may be read from every instance besides the default list."""


class Policies(Document):
    """Completion, retention, off-peak hours, what is read beyond the default list, and whether pictures are shown."""

    completion: Completion = Completion()
    retention: Retention = Retention()
    watermark: Watermark = Watermark()
    orphans: Orphans = Orphans()
    off_peak: OffPeak = OffPeak()
    extra_tags: Annotated[tuple[str, ...], Field(max_length=MAX_EXTRA_TAGS)] = ()
    """Keywords, ``(gggg,eeee)`` and ``A.B`` paths, in canonical form, each once."""
    thumbnails: bool = True
    """Whether pages and API show small pictures of images; text that is burned into them may say who the patient is."""

    @field_validator("extra_tags")
    @classmethod
    def _can_be_collected(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            return ()
        from hermes_common.dicom.names import canonical_name, collecting_problem  # slow to import, and seldom needed

        canonical = tuple(dict.fromkeys(canonical_name(name.strip()) for name in names))
        for name in canonical:
            if (problem := collecting_problem(name)) is not None:
                raise ValueError(problem)
        return canonical


class Kind(StrEnum):
    """The kinds of configuration document; the value is the key in the bucket and the token in subjects."""

    RULES = "rules"
    TARGETS = "targets"
    SOURCES = "sources"
    POLICIES = "policies"
    ALERTING = "alerting"


AnyDocument = RuleSet | Targets | Sources | Policies | Alerting
MODELS: dict[Kind, type[AnyDocument]] = {
    Kind.RULES: RuleSet,
    Kind.TARGETS: Targets,
    Kind.SOURCES: Sources,
    Kind.POLICIES: Policies,
    Kind.ALERTING: Alerting,
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


def _contains(network: IPv4Network | IPv6Network, address: str) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip) in network
