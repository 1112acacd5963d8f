"""The configuration document ``alerting``: what raises an alert, whom it is told, and what is kept quiet."""

import re
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr, field_validator

from hermes_common.addresses import Url, check_url
from hermes_common.alerttexts import BODY, TITLE, Template
from hermes_common.documents import Document, refuse_repeats
from hermes_common.durations import Duration
from hermes_common.ids import AeTitle, Slug
from hermes_common.secrets import PREFIX, Secret
from hermes_common.windows import Clock, check_zone


class AlertKind(StrEnum):
    """What an alert is about; the values are published in events."""

    DELIVERY_FAILED = "delivery_failed"
    COMMITMENT_FAILED = "commitment_failed"
    TARGET_DOWN = "target_down"
    ENDPOINT_DOWN = "endpoint_down"
    QUEUE_LATE = "queue_late"
    SOURCE_SILENT = "source_silent"
    SPOOL_FILLING = "spool_filling"
    DISK_FILLING = "disk_filling"
    SERVICE_MISSING = "service_missing"
    SERVICE_CRASHED = "service_crashed"
    RULE_FAILED = "rule_failed"
    RULE_MATCHED = "rule_matched"
    STUDY_HELD = "study_held"
    STORE_FULL = "store_full"
    STORE_CLEANED = "store_cleaned"
    OBJECTS_MISSING = "objects_missing"
    QUARANTINED = "quarantined"
    MESSAGE_PARKED = "message_parked"
    CHANNEL_FAILING = "channel_failing"
    AUDIT_BROKEN = "audit_broken"


WATCHED = frozenset(
    {
        AlertKind.QUEUE_LATE,
        AlertKind.SOURCE_SILENT,
        AlertKind.SPOOL_FILLING,
        AlertKind.DISK_FILLING,
        AlertKind.SERVICE_MISSING,
        AlertKind.QUARANTINED,
        AlertKind.CHANNEL_FAILING,
    }
)
"""Kinds that no event raises: the bookkeeper looks every few seconds, and they are over when it is no longer so."""

ABOUT_RULES = frozenset({AlertKind.RULE_FAILED, AlertKind.RULE_MATCHED})
"""Kinds whose ``about`` is ``<rule>/...``."""

LOCAL_SERVICES = frozenset({"dbus", "gnome", "glib", "kde", "qt", "windows", "macosx", "syslog", "pkcs"})
"""What Apprise can also do: show something on the machine that it runs on, where nobody would see it."""


class Severity(StrEnum):
    """How much of an alert has to be of interest to a channel."""

    WARNING = "warning"
    CRITICAL = "critical"


class Quiet(Document):
    """Hours in which a channel waits with what is not critical; it is told when they end, if it is still so."""

    start: Clock
    end: Clock
    timezone: Annotated[str, Field(max_length=64)] = "UTC"

    @field_validator("start", "end")
    @classmethod
    def _is_plain(cls, value: time) -> time:
        if value.tzinfo is not None or value.second or value.microsecond:
            raise ValueError("write a time of day such as 22:00")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return check_zone(value)

    def end_after(self, now: datetime) -> datetime | None:
        """Return when the quiet hours end that ``now`` is in; None outside of them. Equal ends mean none at all."""
        local = now.astimezone(ZoneInfo(self.timezone))
        at = local.time().replace(second=0, microsecond=0)
        is_over_midnight = self.start > self.end
        is_in = at >= self.start or at < self.end if is_over_midnight else self.start <= at < self.end
        if not is_in:
            return None
        days = 1 if is_over_midnight and at >= self.start else 0
        ends = datetime.combine(local.date() + timedelta(days=days), self.end, local.tzinfo)
        return ends.astimezone(now.tzinfo)


def _reminder(value: timedelta) -> timedelta:
    if not timedelta(minutes=5) <= value <= timedelta(days=30):
        raise ValueError("between 5m and 30d")
    return value


class _Channel(Document):
    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=120)]
    enabled: bool = True
    kinds: Annotated[tuple[AlertKind, ...], Field(max_length=len(AlertKind))] = ()
    """What is told; empty: every kind."""
    severity: Severity = Severity.WARNING
    """The least that is told."""
    rules: Annotated[tuple[Slug, ...], Field(max_length=200)] = ()
    """Of alerts about rules, only those about these; empty: about any."""
    recovery: bool = True
    """Whether it is told, too, that something is over."""
    reminder: Annotated[Duration, AfterValidator(_reminder)] | None = None
    """How often it is told again of what is still open; None: never."""
    quiet: Quiet | None = None
    title: Annotated[Template, Field(min_length=1, max_length=500)] = TITLE
    body: Annotated[Template, Field(min_length=1, max_length=4000)] = BODY
    comment: Annotated[str, Field(max_length=2000)] = ""

    @property
    def destination(self) -> str:
        """Where the secrets of this channel may be used, as far as it is not one of them."""
        return ""

    def wants(self, kind: str, about: str, severity: str) -> bool:
        """Return whether an alert is for this channel. How channels are never is."""
        if not self.enabled or kind == AlertKind.CHANNEL_FAILING:
            return False
        if self.severity is Severity.CRITICAL and severity != Severity.CRITICAL:
            return False
        if self.kinds and kind not in self.kinds:
            return False
        return not (self.rules and kind in ABOUT_RULES) or about.partition("/")[0] in self.rules


class AppriseChannel(_Channel):
    """Anything that Apprise can send to, by its address: ``mailtos://user:password@example.org?to=…``."""

    kind: Literal["apprise"] = "apprise"
    url: Secret

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text.startswith(PREFIX):
            return value
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://\S", text)
        if scheme is None or len(text.split()) != 1:
            raise ValueError("write an address as Apprise knows it, such as mailto://user:password@example.org")
        if scheme[1].lower() in LOCAL_SERVICES:
            raise ValueError(f"{scheme[1].lower()}:// is shown on the machine of the router, where nobody would see it")
        return value


class WebhookChannel(_Channel):
    """A JSON document by POST, signed as Standard Webhooks has it (docs/alerts.md)."""

    kind: Literal["webhook"] = "webhook"
    url: Url
    key: Secret = SecretStr("")
    """What the signature is made with; empty: none."""

    @property
    def destination(self) -> str:
        return self.url


AnyChannel: TypeAlias = AppriseChannel | WebhookChannel
Channel = Annotated[AnyChannel, Field(discriminator="kind")]
CHANNEL_KINDS: tuple[str, ...] = ("apprise", "webhook")


class Silence(Document):
    """Alerts that nobody is told of until then: of a kind, about a target, a sender or a service, or both."""

    slug: Slug
    kind: AlertKind | None = None
    about: Annotated[str, Field(max_length=200)] = ""
    """A target, a service, a sender, a rule; empty: whatever it is about."""
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    since: AwareDatetime
    until: AwareDatetime
    actor: Annotated[str, Field(max_length=200)] = ""

    def covers(self, kind: str, about: str, now: datetime) -> bool:
        """Return whether an alert is silenced at that instant; ``archive`` covers ``archive/<delivery>``, too."""
        if not self.since <= now < self.until or (self.kind is not None and kind != self.kind):
            return False
        return not self.about or about == self.about or about.startswith(f"{self.about}/")


class Rhythm(Document):
    """After which silence of a sender an alert is raised, set by hand instead of learned."""

    calling_aet: AeTitle
    after: Annotated[Duration, AfterValidator(_reminder)] | None = None
    """None: never."""


class Silent(Document):
    """When a sender counts as silent by its own rhythm (docs/alerts.md has the measure)."""

    learned: bool = True
    factor: Annotated[float, Field(ge=1, le=100)] = 8
    """How many times its usual gap, at the hours of the week that have passed."""
    at_least: Annotated[Duration, AfterValidator(_reminder)] = timedelta(hours=4)
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """In which the hours of the week are counted."""
    senders: Annotated[tuple[Rhythm, ...], Field(max_length=1000)] = ()

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return check_zone(value)

    @field_validator("senders")
    @classmethod
    def _titles_are_unique(cls, senders: tuple[Rhythm, ...]) -> tuple[Rhythm, ...]:
        refuse_repeats("sender", [item.calling_aet.strip() for item in senders], "line")
        return senders


Percent = Annotated[int, Field(ge=1, le=99)]
_Wait = Annotated[Duration, Field(ge=timedelta(seconds=30), le=timedelta(days=30))]


class Conditions(Document):
    """From when on something is worth an alert; None: never."""

    queue_age: _Wait | None = timedelta(minutes=30)
    """How long a delivery that could be made has waited."""
    service_missing: _Wait | None = timedelta(minutes=1)
    """How long no process of a service has answered."""
    spool_used: Percent | None = 80
    """Percent of its limit that a receiver's spool holds."""
    disk_free: Percent | None = 10
    """Percent that are left on a volume of the spool, or of an object store that is a folder."""
    quarantine: Annotated[int, Field(ge=1, le=1_000_000)] | None = 1
    """Instances of one sender that were put into quarantine within an hour."""
    silent: Silent = Silent()


class Alerting(Document):
    """Conditions, channels and silences. Without a channel nothing leaves the machine."""

    site: Annotated[str, Field(max_length=60)] = "Hermes"
    address: Annotated[str, Field(max_length=500)] = ""
    """Where people find the web page, for links in messages: ``https://hermes.example.org``; empty: no links."""
    conditions: Conditions = Conditions()
    channels: Annotated[tuple[Channel, ...], Field(max_length=50)] = ()
    silences: Annotated[tuple[Silence, ...], Field(max_length=200)] = ()

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return check_url(value) if value.strip() else ""

    @field_validator("channels")
    @classmethod
    def _channels_are_unique(cls, channels: tuple[AnyChannel, ...]) -> tuple[AnyChannel, ...]:
        refuse_repeats("channel", [channel.slug for channel in channels])
        return channels

    @field_validator("silences")
    @classmethod
    def _silences_are_unique(cls, silences: tuple[Silence, ...]) -> tuple[Silence, ...]:
        refuse_repeats("silence", [silence.slug for silence in silences])
        return silences

    def channel(self, slug: str) -> AnyChannel | None:
        """Return the channel of that slug, or None."""
        return next((channel for channel in self.channels if channel.slug == slug), None)

    def silenced_until(self, kind: str, about: str, now: datetime) -> datetime | None:
        """Return until when an alert is silenced; None if it is not."""
        return max((item.until for item in self.silences if item.covers(kind, about, now)), default=None)
