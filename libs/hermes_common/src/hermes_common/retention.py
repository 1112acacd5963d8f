"""How long a series is kept once it is done, and why: the documents of the policies, and what follows from them.

The cleaner judges live records by it, and the web service says from the history what a change would delete.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from hermes_common.documents import Document, refuse_repeats
from hermes_common.durations import Duration, format_duration
from hermes_common.ids import Slug
from hermes_common.sizes import Size, format_size

SHORTEST = timedelta(seconds=10)
"""No series goes earlier, whatever is configured: a policy with less is refused when it is saved."""

SHORTEST_GRACE = timedelta(hours=1)

Outcome = Literal["delivered", "unmatched", "discarded"]


class RuleRetention(Document):
    """How long to keep what a rule routed or discarded."""

    rule: Slug
    keep: Duration


class TargetRetention(Document):
    """How long to keep what went to a target."""

    target: Slug
    keep: Duration


class Retention(Document):
    """How long a series is kept after it is done with.

    An entry for a rule or a target takes the place of the general span of the outcome, for what that rule or target
    concerns; of all that apply to a series, the longest holds (docs/retention.md).
    """

    delivered: Duration = timedelta(days=7)
    unmatched: Duration = timedelta(days=14)
    discarded: Duration = timedelta(days=14)
    rules: Annotated[tuple[RuleRetention, ...], Field(max_length=500)] = ()
    targets: Annotated[tuple[TargetRetention, ...], Field(max_length=500)] = ()

    @field_validator("rules")
    @classmethod
    def _rules_are_unique(cls, entries: tuple[RuleRetention, ...]) -> tuple[RuleRetention, ...]:
        refuse_repeats("retention of a rule", [entry.rule for entry in entries])
        return entries

    @field_validator("targets")
    @classmethod
    def _targets_are_unique(cls, entries: tuple[TargetRetention, ...]) -> tuple[TargetRetention, ...]:
        refuse_repeats("retention of a target", [entry.target for entry in entries])
        return entries


class Watermark(Document):
    """When the object store is too full: then what is done goes before its retention has passed, oldest first."""

    most: Size | None = None
    """Octets that may be stored."""
    least_free: Size | None = None
    """Octets that must stay free, where the cleaner can see that (README of the cleaner)."""
    done_for: Duration = timedelta(hours=1)
    """What has been done for less than this never goes early."""

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.most == 0:
            raise ValueError("watermark: most must be more than nothing; leave it out to have no limit")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self.most is not None or self.least_free is not None


class Orphans(Document):
    """What is done with objects that nothing names. They are reported in any case."""

    remove: bool = False
    grace: Duration = timedelta(days=7)
    """How long an object must have been without a record before it is removed."""

    @field_validator("grace")
    @classmethod
    def _is_long_enough(cls, value: timedelta) -> timedelta:
        if value < SHORTEST_GRACE:
            raise ValueError(f"grace must be at least {format_duration(SHORTEST_GRACE)}: an object may be on its way")
        return value


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a series with one fate: a delivery, or a batch that went nowhere. What retention goes by."""

    outcome: Outcome
    rules: Sequence[str] = ()
    """That asked for it."""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """How long a series is kept; ``why`` names the entry that says so, for people."""

    keep: timedelta
    why: str


def span_of(shares: Iterable[Share], policy: Retention) -> Span:
    """Return the longest span that applies. A series without shares came twice as it was, and counts as delivered."""
    spans = [span for share in shares for span in _spans(share, policy)]
    return max(spans or _spans(Share("delivered"), policy), key=lambda span: span.keep)


def _spans(share: Share, policy: Retention) -> list[Span]:
    found = [Span(entry.keep, f"rule {entry.rule}") for entry in policy.rules if entry.rule in share.rules]
    found += [Span(entry.keep, f"target {entry.target}") for entry in policy.targets if entry.target == share.target]
    general = {"delivered": policy.delivered, "unmatched": policy.unmatched, "discarded": policy.discarded}
    found = found or [Span(general[share.outcome], f"{share.outcome} series")]
    return [Span(max(span.keep, SHORTEST), span.why) for span in found]


def too_short(policy: Retention) -> list[tuple[str, str]]:
    """Return the fields of spans that may not be saved, each with the reason."""
    fields: list[tuple[str, timedelta]] = [
        (name, getattr(policy, name)) for name in ("delivered", "unmatched", "discarded")
    ]
    fields += [(f"rules[{place}].keep", entry.keep) for place, entry in enumerate(policy.rules)]
    fields += [(f"targets[{place}].keep", entry.keep) for place, entry in enumerate(policy.targets)]
    words = (
        f"at least {format_duration(SHORTEST)}: what is deleted with no time in between cannot be sent again by anybody"
    )
    return [(field, words) for field, span in fields if span < SHORTEST]


def keeps_as_long(after: Retention, before: Retention) -> bool:
    """Whether one retention surely deletes nothing that another one keeps."""
    if (after.rules, after.targets) != (before.rules, before.targets):
        return False
    return all(getattr(after, name) >= getattr(before, name) for name in ("delivered", "unmatched", "discarded"))


def watermark_words(policy: Watermark) -> str:
    """Return the limits for people."""
    limits = [f"at most {format_size(policy.most)} stored"] if policy.most is not None else []
    limits += [f"at least {format_size(policy.least_free)} free"] if policy.least_free is not None else []
    return ", ".join(limits)
